"""Numbers as libraries store them."""

import ml_dtypes
import numpy as np

DTYPES = {
    "f32": np.dtype(np.float32),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
}


def aligned(x: np.ndarray, format: str = "f32") -> np.ndarray:
    """A copy without gaps, from the start of a cache line on. numpy's own begin 16 bytes later."""
    line, dtype = 64, DTYPES[format]
    size = x.size * dtype.itemsize
    room = np.empty(size + line, np.uint8)
    start = -room.ctypes.data % line
    copy = room[start : start + size].view(dtype).reshape(x.shape)
    copy[...] = x
    return copy


def normal(random: np.random.Generator, shape: tuple[int, ...], format: str) -> np.ndarray:
    """Normally distributed, in f32, every element a number that the format has."""
    return aligned(random.standard_normal(shape, dtype=np.float32).astype(DTYPES[format]))

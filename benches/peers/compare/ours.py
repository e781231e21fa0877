"""flashlet, through the C function of `../ours`."""

import ctypes
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from peer import Contender, Unavailable
from rows import DTYPES, Row, Tensors

LINE = 64
"""Bytes of a cache line."""

CRATE = Path(__file__).resolve().parent.parent / "ours"
# As `../ours/src/lib.rs` numbers them.
DONE, UNSUPPORTED = 0, 2
FORMATS = {"f32": 0, "f16": 1, "bf16": 2}
PRODUCTS = {"f32": 0, "stored": 1}
"""What products are computed in: f32, or the format that numbers are stored in."""


class _Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("token", ctypes.c_size_t), ("head", ctypes.c_size_t)]

    @classmethod
    def of(cls, x: np.ndarray) -> "_Tensor":
        token, head, channel = (stride // x.itemsize for stride in x.strides)
        assert channel == 1, "channels lie side by side"
        return cls(x.ctypes.data, token, head)


class _Problem(ctypes.Structure):
    _fields_ = [
        *(
            (name, ctypes.c_size_t)
            for name in ("q_len", "kv_len", "q_heads", "kv_heads", "head_dim")
        ),
        *((name, ctypes.c_uint32) for name in ("causal", "format", "precision")),
        ("q_offset", ctypes.c_int64),
        ("window", ctypes.c_size_t),
        *((name, _Tensor) for name in ("q", "k", "v", "o")),
    ]


class Ours:
    """The library, built from this tree. Layout: `[len, heads, head_dim]`."""

    def __init__(self, folder: Path, products: str):
        self._products = products
        self._lib = ctypes.CDLL(str(_build(folder)))
        self._lib.level.restype = ctypes.c_void_p
        self.version = f"flashlet {_commit()}, {self._level()}, products: {products}"

    def _level(self) -> str:
        length = ctypes.c_size_t()
        name = self._lib.level(ctypes.byref(length))
        return ctypes.string_at(name, length.value).decode()

    def contender(self, row: Row, tensors: Tensors) -> Contender:
        inputs = [_aligned(x, DTYPES[row.format]) for x in (tensors.q, tensors.k, tensors.v)]
        o = _aligned(np.zeros_like(tensors.q), DTYPES["f32"])
        problem = self._problem(row, [*inputs, o])
        needed = ctypes.c_size_t()
        self._check(row, self._lib.scratch_len(ctypes.byref(problem), ctypes.byref(needed)))
        scratch = np.zeros(needed.value, np.float32)
        arguments = (ctypes.byref(problem), scratch.ctypes.data_as(ctypes.c_void_p), needed)

        # The problem and the arguments hold addresses, which keep nothing alive.
        def run(attend: Callable = self._lib.attend, _keep: tuple = (inputs, o, scratch)) -> None:
            self._check(row, attend(*arguments))

        return Contender(run, lambda: o)

    def _problem(self, row: Row, tensors: list[np.ndarray]) -> _Problem:
        return _Problem(
            q_len=row.q_len,
            kv_len=row.kv_len,
            q_heads=row.q_heads,
            kv_heads=row.kv_heads,
            head_dim=row.head_dim,
            causal=row.causal,
            format=FORMATS[row.format],
            precision=PRODUCTS[self._products],
            q_offset=row.q_offset,
            window=row.window,
            **{name: _Tensor.of(x) for name, x in zip("qkvo", tensors, strict=True)},
        )

    def _check(self, row: Row, status: int) -> None:
        if status == UNSUPPORTED:
            raise Unavailable(f"flashlet has no {row.format} with products {self._products} yet")
        if status != DONE:
            raise Unavailable("flashlet refused the problem; standard error says why")


def _aligned(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A copy at the start of a cache line, as the peers allocate theirs; numpy does not."""
    size = x.size * dtype.itemsize
    room = np.empty(size + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    copy = room[start : start + size].view(dtype).reshape(x.shape)
    copy[...] = x
    return copy


def _build(folder: Path) -> Path:
    """Builds `../ours` and returns the path of its library."""
    manifest = str(CRATE / "Cargo.toml")
    target = os.environ.get("CARGO_TARGET_DIR", str(folder / "cargo"))
    command = ["cargo", "build", "--release", "--manifest-path", manifest, "--target-dir", target]
    command += ["--message-format", "json-render-diagnostics"]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = map(json.loads, lines.splitlines())
    return next(
        Path(message["filenames"][0])
        for message in messages
        if message["reason"] == "compiler-artifact" and "cdylib" in message["target"]["kind"]
    )


def _commit() -> str:
    command = ["git", "-C", str(CRATE), "describe", "--always", "--dirty"]
    described = subprocess.run(command, capture_output=True, text=True, check=False)
    return described.stdout.strip() or "of an unknown commit"

"""flashlet, through the C function of `../ours`."""

import ctypes
from collections.abc import Callable
from ctypes import c_int, c_int64, c_size_t, c_uint32, c_void_p
from pathlib import Path

import build
import c
import numpy as np
from peer import Contender, Unavailable
from rows import Row, Tensors, aligned

# As `../ours/src/lib.rs` numbers them.
DONE, UNSUPPORTED = 0, 2
FORMATS = {"f32": 0, "f16": 1, "bf16": 2}
FUNCTIONS = {
    "level": (c_void_p, [c_void_p]),
    "scratch_len": (c_int, [c_void_p, c_void_p]),
    "attend": (c_int, [c_void_p, c_void_p, c_size_t]),
}
PRODUCTS = {"f32": 0, "stored": 1}
"""What products are computed in: f32, or the format that numbers are stored in."""


class _Tensor(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("token", c_size_t), ("head", c_size_t)]

    @classmethod
    def of(cls, x: np.ndarray) -> "_Tensor":
        token, head, channel = (stride // x.itemsize for stride in x.strides)
        assert channel == 1, "channels lie side by side"
        return cls(x.ctypes.data, token, head)


class _Problem(ctypes.Structure):
    _fields_ = [
        *((name, c_size_t) for name in ("q_len", "kv_len", "q_heads", "kv_heads", "head_dim")),
        *((name, c_uint32) for name in ("causal", "format", "precision")),
        ("q_offset", c_int64),
        ("window", c_size_t),
        *((name, _Tensor) for name in ("q", "k", "v", "o")),
    ]


class Ours:
    """The library, built from this tree. Layout: `[heads, len, head_dim]`, as the peers have it."""

    def __init__(self, folder: Path, products: str):
        self._products = products
        self._lib = c.declare(ctypes.CDLL(str(build.library("ours", folder))), FUNCTIONS)
        self.version = f"flashlet {build.commit()}, {c.text(self._lib.level)}, products: {products}"

    def contender(self, row: Row, tensors: Tensors) -> Contender:
        # Indexed by token, as the peers' outputs are; the tokens of a head lie side by side.
        inputs = [x.swapaxes(0, 1) for x in tensors.by_head(row.format)]
        o = aligned(np.zeros_like(inputs[0], np.float32).swapaxes(0, 1)).swapaxes(0, 1)
        problem = self._problem(row, [*inputs, o])
        needed = c_size_t()
        self._check(row, self._lib.scratch_len(ctypes.byref(problem), ctypes.byref(needed)))
        scratch = np.zeros(needed.value, np.float32)
        arguments = (ctypes.byref(problem), scratch.ctypes.data_as(c_void_p), needed)

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

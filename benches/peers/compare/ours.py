"""flashlet, through the C functions of `../ours`.

Layout: `[heads, len, head_dim]`, as the peers have it; for rotary positions, which are turned in place,
`[len, heads, head_dim]`.
"""

import ctypes
from collections.abc import Callable
from ctypes import c_double, c_int, c_int64, c_size_t, c_uint32, c_void_p
from pathlib import Path

import build
import c
import numpy as np
from arrays import aligned
from attention import Attention, Tensors
from peer import Contender, Offers, Unavailable
from rotation import Heads, Rotation
from rows import Row

# As `../ours/src` numbers them.
DONE, UNSUPPORTED = 0, 2
FORMATS = {"f32": 0, "f16": 1, "bf16": 2}
PAIRINGS = {"halves": 0, "interleaved": 1}
FUNCTIONS = {
    "level": (c_void_p, [c_void_p]),
    "scratch_len": (c_int, [c_void_p, c_void_p]),
    "attend": (c_int, [c_void_p, c_void_p, c_size_t]),
    "turns": (c_int, [c_double, c_void_p, c_size_t]),
    "fill_table": (c_int, [c_void_p, c_void_p, c_size_t]),
    "rotate": (c_int, [c_void_p]),
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


class _Rotation(ctypes.Structure):
    _fields_ = [
        *((name, c_size_t) for name in ("len", "q_heads", "kv_heads", "head_dim")),
        *((name, c_uint32) for name in ("pairing", "format")),
        *((name, c_void_p) for name in ("turns", "table")),
        *((name, _Tensor) for name in ("q", "k")),
    ]


class Ours:
    """The library, built from this tree."""

    def __init__(self, folder: Path, products: str):
        self._products = products
        self._lib = c.declare(ctypes.CDLL(str(build.library("ours", folder))), FUNCTIONS)
        self.version = f"flashlet {build.commit()}, {c.text(self._lib.level)}, products: {products}"

    def attention(self, row: Attention) -> Offers:
        return {"flashlet": self._attention}

    def rotation(self, row: Rotation) -> Offers:
        return {"flashlet": self._rotation}

    def _attention(self, row: Attention, tensors: Tensors) -> Contender:
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

    def _rotation(self, row: Rotation, heads: Heads) -> Contender:
        inputs = [aligned(x, row.format) for x in (heads.q, heads.k)]
        turns = np.zeros(row.head_dim // 2, np.uint64)
        table = np.zeros((row.len, row.head_dim), np.float32)
        problem = _Rotation(
            len=row.len,
            q_heads=row.q_heads,
            kv_heads=row.kv_heads,
            head_dim=row.head_dim,
            pairing=PAIRINGS[row.pairing],
            format=FORMATS[row.format],
            turns=turns.ctypes.data,
            **{name: _Tensor.of(x) for name, x in zip("qk", inputs, strict=True)},
        )
        self._check(row, self._lib.turns(row.theta_base, turns.ctypes.data, turns.size))
        if row.angles == "table":
            address = table.ctypes.data
            self._check(row, self._lib.fill_table(ctypes.byref(problem), address, table.size))
            problem.table = address
        argument = ctypes.byref(problem)

        # As above, addresses keep nothing alive.
        def run(rotate: Callable = self._lib.rotate, _keep: tuple = (inputs, turns, table)) -> None:
            self._check(row, rotate(argument))

        return Contender(run, lambda: np.concatenate(inputs, axis=1, dtype=np.float32))

    def _problem(self, row: Attention, tensors: list[np.ndarray]) -> _Problem:
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

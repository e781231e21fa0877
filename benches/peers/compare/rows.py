"""What is measured: shapes, masks and formats."""

from dataclasses import dataclass
from functools import cached_property

import ml_dtypes
import numpy as np

DTYPES = {
    "f32": np.dtype(np.float32),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
}


@dataclass(frozen=True)
class Row:
    """One attention of one sequence. The last query stands at the last key."""

    format: str
    q_len: int
    kv_len: int
    head_dim: int
    q_heads: int = 8
    kv_heads: int = 8
    causal: bool = False
    window: int = 0
    """The keys a causal query sees, its own position included; 0: all before it."""

    @property
    def name(self) -> str:
        heads = f"{self.q_heads}x{self.kv_heads}"
        if self.is_decode:
            return f"decode_{self.format}_hd{self.head_dim}_{heads}_kv{self.kv_len}"
        mask = f"window{self.window}" if self.window else "causal" if self.causal else "full"
        return f"prefill_{self.format}_hd{self.head_dim}_{heads}_n{self.kv_len}_{mask}"

    @property
    def is_decode(self) -> bool:
        return self.q_len == 1

    @property
    def q_offset(self) -> int:
        """The position of query 0."""
        return self.kv_len - self.q_len

    @property
    def scale(self) -> float:
        return self.head_dim**-0.5

    def visible(self, i: int) -> range:
        """The keys that query `i` sees: the only definition of the mask."""
        high = i + self.q_offset + 1 if self.causal else self.kv_len
        return range(max(0, high - self.window) if self.window else 0, high)

    def mask(self) -> np.ndarray:
        """`visible` as a matrix `[q_len, kv_len]` of truth values."""
        mask = np.zeros((self.q_len, self.kv_len), dtype=bool)
        for i in range(self.q_len):
            keys = self.visible(i)
            mask[i, keys.start : keys.stop] = True
        return mask

    @cached_property
    def flops(self) -> int:
        """Two products of `head_dim` multiply-adds for each query and each key that it sees."""
        return (
            4 * self.head_dim * self.q_heads * sum(len(self.visible(i)) for i in range(self.q_len))
        )


def aligned(x: np.ndarray, format: str = "f32") -> np.ndarray:
    """A copy without gaps, from the start of a cache line on. numpy's own begin 16 bytes later."""
    line, dtype = 64, DTYPES[format]
    size = x.size * dtype.itemsize
    room = np.empty(size + line, np.uint8)
    start = -room.ctypes.data % line
    copy = room[start : start + size].view(dtype).reshape(x.shape)
    copy[...] = x
    return copy


@dataclass(frozen=True)
class Tensors:
    """`[len, heads, head_dim]` in f32, every element a number that the row's format has."""

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray

    def by_head(self, format: str = "f32") -> list[np.ndarray]:
        """The same as `[heads, len, head_dim]`."""
        return [aligned(x.transpose(1, 0, 2), format) for x in (self.q, self.k, self.v)]


def tensors(row: Row) -> Tensors:
    """Normally distributed, the same in each run."""
    random = np.random.default_rng(1)

    def draw(tokens: int, heads: int) -> np.ndarray:
        x = random.standard_normal((tokens, heads, row.head_dim), dtype=np.float32)
        return aligned(x.astype(DTYPES[row.format]))

    return Tensors(
        draw(row.q_len, row.q_heads), draw(row.kv_len, row.kv_heads), draw(row.kv_len, row.kv_heads)
    )


def _prefill(format: str, lens: list[int]) -> list[Row]:
    return [
        Row(format, n, n, head_dim, causal=causal)
        for causal in (False, True)
        for head_dim in (64, 128)
        for n in lens
    ]


ROWS = [
    *_prefill("f32", [512, 1024, 4096]),
    Row("f32", 1024, 1024, 128, q_heads=32, kv_heads=8, causal=True),
    Row("f32", 8192, 8192, 64, causal=True, window=512),
    *_prefill("f16", [1024, 4096]),
    *_prefill("bf16", [1024, 4096]),
    *(
        Row(format, 1, kv_len, 128, q_heads=32, kv_heads=8)
        for format in ("f32", "f16", "bf16")
        for kv_len in (1024, 8192, 32768)
    ),
]

QUICK = [row for row in ROWS if row.kv_len <= 1024]

"""Attention: shapes, masks, data, and what it is in f64."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from arrays import aligned, normal

# Shares of the largest |v|. Enough to tell rounding from a wrong answer, and no more: the bounds
# that flashlet promises are certified by its own tests.
LIMITS = {
    "f32": 2.0
    ** -18,  # 64 roundings: long sums, and exponentials of 20 ulp; less than one key in 2^15
    "f16": 2.0**-9,  # 4 roundings: peers keep scores, probabilities, sums or outputs in 16 bits
    "bf16": 2.0**-6,
}


@dataclass(frozen=True)
class Tensors:
    """`[len, heads, head_dim]` in f32, every element a number that the row's format has."""

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray

    def by_head(self, format: str = "f32") -> list[np.ndarray]:
        """The same as `[heads, len, head_dim]`."""
        return [aligned(x.transpose(1, 0, 2), format) for x in (self.q, self.k, self.v)]


@dataclass(frozen=True)
class Attention:
    """One attention of one sequence. The last query stands at the last key."""

    unit: ClassVar[str] = "GFLOP/s"

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
    def work(self) -> int:
        """Two products of `head_dim` multiply-adds for each query and each key that it sees."""
        return (
            4 * self.head_dim * self.q_heads * sum(len(self.visible(i)) for i in range(self.q_len))
        )

    def tensors(self) -> Tensors:
        random = np.random.default_rng(1)
        shapes = [(self.q_len, self.q_heads), *[(self.kv_len, self.kv_heads)] * 2]
        return Tensors(*(normal(random, (*shape, self.head_dim), self.format) for shape in shapes))

    def limit(self, tensors: Tensors) -> float:
        return LIMITS[self.format] * float(np.abs(tensors.v).max())

    def error(self, tensors: Tensors, output: np.ndarray) -> float:
        """In rows at both ends and between; `output` is `[q_len, q_heads, head_dim]`."""
        last = self.q_len - 1
        queries = {0, min(1, last), last // 3, last // 2, max(last - 1, 0), last}
        heads = {0, self.q_heads // 2 + 1, self.q_heads - 1}
        differences = [
            np.abs(output[i, h] - self._exact(tensors, i, h)).max() for i in queries for h in heads
        ]
        return float(np.max(differences))

    def _exact(self, tensors: Tensors, i: int, h: int) -> np.ndarray:
        """Row `i` of head `h` in f64, as the definition reads."""
        keys, g = self.visible(i), h * self.kv_heads // self.q_heads
        q = tensors.q[i, h].astype(np.float64)
        k, v = (x[keys.start : keys.stop, g].astype(np.float64) for x in (tensors.k, tensors.v))
        s = self.scale * (k @ q)
        p = np.exp(s - s.max())
        return p @ v / p.sum()

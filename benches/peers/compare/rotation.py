"""Rotary positions: shapes, data, and what they are in f64."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from arrays import DTYPES, normal

# Shares of the longest pair. 4 roundings: peers keep angles, products or sums in the format.
LIMITS = {"f32": 2.0**-22, "f16": 2.0**-9, "bf16": 2.0**-6}
# Peers' angles are f32 radians, off by up to 8 roundings where frequencies are running products.
ANGLE_LIMIT = 2.0**-21


@dataclass(frozen=True)
class Heads:
    """`[len, heads, head_dim]` in f32, every element a number that the row's format has."""

    q: np.ndarray
    k: np.ndarray


@dataclass(frozen=True)
class Rotation:
    """The queries and keys of one prompt, at positions 0, 1, 2 .., turned by them."""

    unit: ClassVar[str] = "GB/s"

    format: str
    len: int
    head_dim: int = 128
    q_heads: int = 32
    kv_heads: int = 8
    pairing: str = "halves"
    """Which channels turn together: `t` and `t + head_dim / 2`, or, `interleaved`, neighbours."""
    angles: str = "table"
    """Where flashlet has cosines and sines from; or `computed`. A peer has but one way."""
    theta_base: float = 500_000.0

    @property
    def name(self) -> str:
        heads = f"hd{self.head_dim}_{self.q_heads}x{self.kv_heads}"
        return f"rope_{self.format}_{heads}_n{self.len}_{self.pairing}_{self.angles}"

    @property
    def work(self) -> int:
        """Bytes of all heads, read and written."""
        elements = self.len * (self.q_heads + self.kv_heads) * self.head_dim
        return 2 * elements * DTYPES[self.format].itemsize

    def tensors(self) -> Heads:
        random = np.random.default_rng(1)
        shapes = [(self.len, heads, self.head_dim) for heads in (self.q_heads, self.kv_heads)]
        return Heads(*(normal(random, shape, self.format) for shape in shapes))

    def limit(self, heads: Heads) -> float:
        longest = max(float(np.hypot(*self._pairs(x)).max()) for x in (heads.q, heads.k))
        return (LIMITS[self.format] + ANGLE_LIMIT * self.len) * longest

    def error(self, heads: Heads, output: np.ndarray) -> float:
        """Of all; `output` is `[len, q_heads + kv_heads, head_dim]`."""
        exact = np.concatenate([self._exact(heads.q), self._exact(heads.k)], axis=1)
        return float(np.abs(output - exact).max())

    def f32_angles(self) -> np.ndarray:
        """`[len, head_dim / 2]` in f32, as PyTorch's users, candle's and ONNX's compute them."""
        t = np.arange(0, self.head_dim, 2, dtype=np.float32)
        inv_freq = 1 / np.float32(self.theta_base) ** (t / np.float32(self.head_dim))
        return np.outer(np.arange(self.len, dtype=np.float32), inv_freq)

    def _pairs(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first and the second channel of each pair."""
        if self.pairing == "interleaved":
            return x[..., 0::2], x[..., 1::2]
        return x[..., : self.head_dim // 2], x[..., self.head_dim // 2 :]

    def _exact(self, heads: np.ndarray) -> np.ndarray:
        """In f64, as the definition reads."""
        pairs = self.head_dim // 2
        angles = np.outer(np.arange(self.len), self.theta_base ** (-np.arange(pairs) / pairs))
        cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
        turned = np.empty(heads.shape, np.float64)
        (x, y), (x_to, y_to) = self._pairs(heads.astype(np.float64)), self._pairs(turned)
        x_to[...] = x * cos - y * sin
        y_to[...] = y * cos + x * sin
        return turned

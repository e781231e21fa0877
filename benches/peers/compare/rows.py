"""What is measured."""

from typing import Protocol

import numpy as np
from attention import Attention
from rotation import Rotation


class Row(Protocol):
    """One computation with its shapes and its data, which are the same in each run."""

    unit: str
    """Of `work` in a second: 10^9 of them."""
    format: str
    name: str
    work: int

    def tensors(self) -> object:
        """The data, normally distributed."""

    def limit(self, tensors: object) -> float:
        """The largest error that rounding explains."""

    def error(self, tensors: object, output: np.ndarray) -> float:
        """The largest difference from f64. NaN if there is one."""


def _prefill(format: str, lens: list[int]) -> list[Attention]:
    return [
        Attention(format, n, n, head_dim, causal=causal)
        for causal in (False, True)
        for head_dim in (64, 128)
        for n in lens
    ]


ATTENTIONS = [
    *_prefill("f32", [512, 1024, 4096]),
    Attention("f32", 1024, 1024, 128, q_heads=32, kv_heads=8, causal=True),
    Attention("f32", 8192, 8192, 64, causal=True, window=512),
    *_prefill("f16", [1024, 4096]),
    *_prefill("bf16", [1024, 4096]),
    *(
        Attention(format, 1, kv_len, 128, q_heads=32, kv_heads=8)
        for format in ("f32", "f16", "bf16")
        for kv_len in (1024, 8192, 32768)
    ),
]

ROTATIONS = [
    Rotation(format, n, pairing=pairing, angles=angles)
    for format, n, pairing in (
        ("f32", 32, "halves"),  # within a cache
        ("f32", 1024, "halves"),
        ("f32", 1024, "interleaved"),
        ("f16", 1024, "halves"),
        ("bf16", 1024, "halves"),
    )
    for angles in ("table", "computed")
]

ROWS: list[Row] = [*ATTENTIONS, *ROTATIONS]

QUICK: list[Row] = [*(row for row in ATTENTIONS if row.kv_len <= 1024), *ROTATIONS]

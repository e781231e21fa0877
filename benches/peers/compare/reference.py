"""Attention in f64, as its definition reads, and how far an output may be from it."""

import numpy as np
from rows import Row, Tensors

# Shares of the largest |v|. Enough to tell rounding from a wrong answer, and no more: the bounds
# that flashlet promises are certified by its own tests.
LIMITS = {
    "f32": 2.0
    ** -18,  # 64 roundings: long sums, and exponentials of 20 ulp; less than one key in 2^15
    "f16": 2.0**-9,  # 4 roundings: peers keep scores, probabilities, sums or outputs in 16 bits
    "bf16": 2.0**-6,
}


def limit(row: Row, tensors: Tensors) -> float:
    """The largest error that rounding explains."""
    return LIMITS[row.format] * float(np.abs(tensors.v).max())


def attention(row: Row, tensors: Tensors, i: int, h: int) -> np.ndarray:
    """Row `i` of head `h`."""
    keys, g = row.visible(i), h * row.kv_heads // row.q_heads
    q = tensors.q[i, h].astype(np.float64)
    k, v = (x[keys.start : keys.stop, g].astype(np.float64) for x in (tensors.k, tensors.v))
    s = row.scale * (k @ q)
    p = np.exp(s - s.max())
    return p @ v / p.sum()


def error(row: Row, tensors: Tensors, output: np.ndarray) -> float:
    """The largest difference from f64 in rows at both ends and between. NaN if there is one."""
    last = row.q_len - 1
    queries = {0, min(1, last), last // 3, last // 2, max(last - 1, 0), last}
    heads = {0, row.q_heads // 2 + 1, row.q_heads - 1}
    differences = [
        np.abs(output[i, h] - attention(row, tensors, i, h)).max() for i in queries for h in heads
    ]
    return float(np.max(differences))

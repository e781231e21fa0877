"""PyTorch on the CPU.

Layout: `[heads, len, head_dim]`; a view of `[len, heads, head_dim]` for rotary positions.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import install
import numpy as np
from arrays import DTYPES
from attention import Attention, Tensors
from peer import Contender, Offers, Unavailable
from rotation import Heads, Rotation

PACKAGE = "torch==2.15.0"


class Torch:
    """`scaled_dot_product_attention`, and what users write where that is slow or not there."""

    def __init__(self, folder: Path):
        install.pip(PACKAGE)
        # What it compiles is C++, when it is first called: where to, and by how many.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "inductor"))
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
        try:
            import torch
        except (ImportError, OSError, ValueError) as error:
            raise Unavailable(f"torch cannot be imported: {error}") from error
        torch.set_num_threads(1)
        torch.set_num_interop_threads(1)
        torch.set_grad_enabled(False)
        self._torch = torch
        self.version = f"PyTorch {torch.__version__}"

    def attention(self, row: Attention) -> Offers:
        sdpa = {"torch SDPA": self._sdpa}
        if row.is_decode:
            return sdpa | {"torch matmul": self._matmul}
        if row.window:
            return {"torch SDPA, dense mask": self._sdpa, "torch flex_attention": self._flex}
        return sdpa

    def rotation(self, row: Rotation) -> Offers:
        if row.pairing != "halves":
            return {}
        return {
            "torch, HF eager": partial(self._rotary, lambda function: function),
            "torch, HF compiled": partial(self._rotary, self._compiled),
        }

    def _stored(self, format: str, arrays: list[np.ndarray]) -> list:
        """`[1, ..]` in a format."""
        dtype = getattr(self._torch, DTYPES[format].name)
        return [self._torch.from_numpy(x[None]).to(dtype) for x in arrays]

    def _sdpa(self, row: Attention, tensors: Tensors) -> Contender:
        q, k, v = self._stored(row.format, tensors.by_head())
        mask = None
        if row.window:
            hidden = self._torch.from_numpy(~row.mask())
            mask = self._torch.zeros(hidden.shape, dtype=q.dtype).masked_fill_(hidden, -np.inf)
        sdpa = self._torch.nn.functional.scaled_dot_product_attention
        is_causal, enable_gqa = row.causal and mask is None, row.q_heads != row.kv_heads
        return self._contender(
            partial(sdpa, q, k, v, attn_mask=mask, is_causal=is_causal, enable_gqa=enable_gqa)
        )

    def _matmul(self, row: Attention, tensors: Tensors) -> Contender:
        """One query: the heads of a group are rows of a matrix, so it reads K and V once."""
        q, k, v = self._stored(row.format, tensors.by_head())
        k, v = k[0], v[0]
        q = q.view(row.kv_heads, -1, row.head_dim)

        def compute():
            p = self._torch.softmax((q * row.scale) @ k.transpose(1, 2), dim=-1)
            return (p @ v).view(1, row.q_heads, 1, row.head_dim)

        return self._contender(compute)

    def _flex(self, row: Attention, tensors: Tensors) -> Contender:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        def sees(_batch, _head, i, j):
            return (j <= i) & (j > i - row.window)

        q, k, v = self._stored(row.format, tensors.by_head())
        mask = create_block_mask(sees, None, None, row.q_len, row.kv_len, device="cpu")
        compiled = self._torch.compile(flex_attention)
        return self._contender(partial(compiled, q, k, v, block_mask=mask))

    def _rotary(self, prepare: Callable, row: Rotation, heads: Heads) -> Contender:
        """As the models of Hugging Face's transformers: cos and sin are computed once for all
        layers, in f32, and rounded to the format; q and k are views of what projections wrote."""
        torch = self._torch
        q, k = (x.transpose(1, 2) for x in self._stored(row.format, [heads.q, heads.k]))
        angles = np.concatenate([row.f32_angles()] * 2, axis=-1)
        cos, sin = self._stored(row.format, [np.cos(angles), np.sin(angles)])

        def rotate_half(x):
            half = x.shape[-1] // 2
            return torch.cat((-x[..., half:], x[..., :half]), dim=-1)

        def apply_rotary_pos_emb(q, k, cos, sin):
            cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
            return (q * cos) + (rotate_half(q) * sin), (k * cos) + (rotate_half(k) * sin)

        prepared = prepare(apply_rotary_pos_emb)
        return self._contender(lambda: prepared(q, k, cos, sin), partial(torch.cat, dim=1))

    def _compiled(self, function: Callable) -> Callable:
        """For one shape, whatever others it was compiled for before."""
        self._torch.compiler.reset()
        return self._torch.compile(function, dynamic=False)

    def _contender(self, compute: Callable, join: Callable = lambda output: output) -> Contender:
        """`join` makes one `[1, heads, len, head_dim]` of what is computed."""
        last = [None]

        def run() -> None:
            last[0] = compute()

        return Contender(run, lambda: join(last[0])[0].transpose(0, 1).float().numpy())

"""PyTorch on the CPU. Layout: `[heads, len, head_dim]`."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import install
import numpy as np
from peer import Contender, Unavailable
from rows import DTYPES, Row, Tensors

PACKAGE = "torch==2.15.0"


class Torch:
    """`scaled_dot_product_attention`, and what users write where that is slow."""

    def __init__(self, folder: Path):
        install.pip(PACKAGE)
        # flex_attention is C++, compiled when it is first called: where to, and by how many.
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

    def offers(self, row: Row) -> dict[str, Callable[[Row, Tensors], Contender]]:
        sdpa = {"torch SDPA": self._sdpa}
        if row.is_decode:
            return sdpa | {"torch matmul": self._matmul}
        if row.window:
            return {"torch SDPA, dense mask": self._sdpa, "torch flex_attention": self._flex}
        return sdpa

    def _stored(self, row: Row, tensors: Tensors) -> list:
        """`[1, heads, len, head_dim]` in the row's format."""
        dtype = getattr(self._torch, DTYPES[row.format].name)
        return [self._torch.from_numpy(x[None]).to(dtype) for x in tensors.by_head()]

    def _sdpa(self, row: Row, tensors: Tensors) -> Contender:
        q, k, v = self._stored(row, tensors)
        mask = None
        if row.window:
            hidden = self._torch.from_numpy(~row.mask())
            mask = self._torch.zeros(hidden.shape, dtype=q.dtype).masked_fill_(hidden, -np.inf)
        sdpa = self._torch.nn.functional.scaled_dot_product_attention
        is_causal, enable_gqa = row.causal and mask is None, row.q_heads != row.kv_heads
        return self._contender(
            partial(sdpa, q, k, v, attn_mask=mask, is_causal=is_causal, enable_gqa=enable_gqa)
        )

    def _matmul(self, row: Row, tensors: Tensors) -> Contender:
        """One query: the heads of a group are rows of a matrix, so it reads K and V once."""
        q, k, v = self._stored(row, tensors)
        k, v = k[0], v[0]
        q = q.view(row.kv_heads, -1, row.head_dim)

        def compute():
            p = self._torch.softmax((q * row.scale) @ k.transpose(1, 2), dim=-1)
            return (p @ v).view(1, row.q_heads, 1, row.head_dim)

        return self._contender(compute)

    def _flex(self, row: Row, tensors: Tensors) -> Contender:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        def sees(_batch, _head, i, j):
            return (j <= i) & (j > i - row.window)

        q, k, v = self._stored(row, tensors)
        mask = create_block_mask(sees, None, None, row.q_len, row.kv_len, device="cpu")
        compiled = self._torch.compile(flex_attention)
        return self._contender(partial(compiled, q, k, v, block_mask=mask))

    def _contender(self, compute: Callable) -> Contender:
        last = [None]

        def run() -> None:
            last[0] = compute()

        return Contender(run, lambda: last[0][0].transpose(0, 1).float().numpy())

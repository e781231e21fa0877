"""ggml, from the library that node-llama-cpp ships.

Layout: `[heads, len, head_dim]`; `[len, heads, head_dim]` of rotary positions.
"""

import ctypes
import platform
import weakref
from ctypes import c_bool, c_char_p, c_float, c_int, c_int64, c_size_t, c_void_p
from functools import partial
from pathlib import Path

import c
import install
import numpy as np
from arrays import DTYPES
from attention import Attention, Tensors
from peer import Contender, Offers, Unavailable
from rotation import Heads, Rotation

PACKAGES = {
    ("Linux", "x86_64"): ("@node-llama-cpp/linux-x64", "3.22.1"),
    ("Linux", "aarch64"): ("@node-llama-cpp/linux-arm64", "3.22.1"),
}

# `enum ggml_type`, `enum ggml_prec` and `GGML_ROPE_TYPE_..`.
TYPES = {"float32": 0, "float16": 1, "bfloat16": 30, "int32": 26}
PREC_F32 = 10
ROPE_MODES = {"interleaved": 0, "halves": 2}

# `ext_factor`, `attn_factor`, `beta_fast` and `beta_slow`: without the first, the last two say nothing.
NO_YARN = (0.0, 1.0, 32.0, 1.0)


class _InitParams(ctypes.Structure):
    _fields_ = [("mem_size", c_size_t), ("mem_buffer", c_void_p), ("no_alloc", c_bool)]


# The functions that are called: what they return, and their parameters.
BASE = {
    "ggml_version": (c_char_p, []),
    "ggml_init": (c_void_p, [_InitParams]),
    "ggml_free": (None, [c_void_p]),
    "ggml_tensor_overhead": (c_size_t, []),
    "ggml_graph_overhead": (c_size_t, []),
    "ggml_new_tensor": (c_void_p, [c_void_p, c_int, c_int, ctypes.POINTER(c_int64)]),
    "ggml_flash_attn_ext": (c_void_p, [c_void_p] * 5 + [c_float] * 3),
    "ggml_flash_attn_ext_set_prec": (None, [c_void_p, c_int]),
    "ggml_rope_ext_inplace": (c_void_p, [c_void_p] * 4 + [c_int] * 3 + [c_float] * 6),
    "ggml_new_graph": (c_void_p, [c_void_p]),
    "ggml_build_forward_expand": (None, [c_void_p, c_void_p]),
    "ggml_backend_alloc_ctx_tensors": (c_void_p, [c_void_p, c_void_p]),
    "ggml_backend_buffer_free": (None, [c_void_p]),
    "ggml_backend_tensor_set": (None, [c_void_p, c_void_p, c_size_t, c_size_t]),
    "ggml_backend_tensor_get": (None, [c_void_p, c_void_p, c_size_t, c_size_t]),
    "ggml_backend_supports_op": (c_bool, [c_void_p, c_void_p]),
    "ggml_backend_graph_compute": (c_int, [c_void_p, c_void_p]),
}
CPU = {
    "ggml_backend_cpu_init": (c_void_p, []),
    "ggml_backend_cpu_set_n_threads": (None, [c_void_p, c_int]),
}


class Ggml:
    """One backend, of the variant that ggml itself scores highest for this processor."""

    def __init__(self, folder: Path):
        host = (platform.system(), platform.machine())
        if host not in PACKAGES:
            raise Unavailable(f"no prebuilt ggml for {' '.join(host)}")
        package = install.npm(folder / "npm", *PACKAGES[host])
        try:
            base = next(package.glob("bins/*/libggml-base.so"))
            self.base = c.declare(ctypes.CDLL(str(base)), BASE)
            variant, library = _best_variant(base.parent)
            cpu = c.declare(library, CPU)
        except (StopIteration, OSError, AttributeError) as error:
            raise Unavailable(f"ggml cannot be loaded: {error}") from error
        self.backend = cpu.ggml_backend_cpu_init()
        cpu.ggml_backend_cpu_set_n_threads(self.backend, 1)
        version = self.base.ggml_version().decode()
        self.version = f"ggml {version} of {'@'.join(PACKAGES[host])}, {variant}"

    def attention(self, row: Attention) -> Offers:
        return {f"ggml {row.format}": self._flash_attention}

    def rotation(self, row: Rotation) -> Offers:
        if row.format == "bf16":
            return {}
        mode = {"halves": "NEOX", "interleaved": "NORMAL"}[row.pairing]
        return {f"ggml rope {mode}, in place": self._rope}

    def _flash_attention(self, row: Attention, tensors: Tensors) -> Contender:
        graph = _Graph(self)
        (q, _, _), (_, k, v) = tensors.by_head(), tensors.by_head(row.format)
        q, k, v = (graph.input(x) for x in (q, k, v))
        mask = None
        if row.causal:
            mask = graph.input(np.where(row.mask(), 0.0, -np.inf).astype(np.float16))
        o = self.base.ggml_flash_attn_ext(graph.context, q, k, v, mask, row.scale, 0.0, 0.0)
        self.base.ggml_flash_attn_ext_set_prec(o, PREC_F32)  # as llama.cpp does
        graph.finish(o)
        room = np.empty((row.q_len, row.q_heads, row.head_dim), np.float32)
        return Contender(graph.run, lambda: graph.get(o, room))

    def _rope(self, row: Rotation, heads: Heads) -> Contender:
        """In place, as llama.cpp's graphs are allocated: never slower than from one to another."""
        graph = _Graph(self)
        stored = [x.astype(DTYPES[row.format]) for x in (heads.q, heads.k)]
        q, k = (graph.input(x) for x in stored)
        positions = graph.input(np.arange(row.len, dtype=np.int32))
        rope = partial(self.base.ggml_rope_ext_inplace, graph.context)
        turning = (row.head_dim, ROPE_MODES[row.pairing], 0, row.theta_base, 1.0, *NO_YARN)
        turned = [rope(x, positions, None, *turning) for x in (q, k)]
        graph.finish(*turned)

        def output() -> np.ndarray:
            parts = [graph.get(x, room) for x, room in zip(turned, stored, strict=True)]
            return np.concatenate(parts, axis=1, dtype=np.float32)

        return Contender(graph.run, output)


class _Graph:
    """Tensors, and what is computed of them. ggml writes shapes the other way round."""

    def __init__(self, ggml: Ggml):
        self._base, self._backend = ggml.base, ggml.backend
        size = 8 * self._base.ggml_tensor_overhead() + self._base.ggml_graph_overhead()
        self.context = self._base.ggml_init(_InitParams(size, None, True))
        weakref.finalize(self, self._base.ggml_free, self.context)
        self._graph = self._base.ggml_new_graph(self.context)
        self._inputs: list[tuple[int, np.ndarray]] = []

    def input(self, x: np.ndarray) -> int:
        """A tensor that holds this once the graph is finished."""
        lengths = (c_int64 * x.ndim)(*reversed(x.shape))
        tensor = self._base.ggml_new_tensor(self.context, TYPES[x.dtype.name], x.ndim, lengths)
        self._inputs.append((tensor, np.ascontiguousarray(x)))
        return tensor

    def finish(self, *nodes: int) -> None:
        """Says what is to be computed."""
        for node in nodes:
            if not self._base.ggml_backend_supports_op(self._backend, node):
                raise Unavailable("ggml says that it does not support this")
            self._base.ggml_build_forward_expand(self._graph, node)
        buffer = self._base.ggml_backend_alloc_ctx_tensors(self.context, self._backend)
        weakref.finalize(self, self._base.ggml_backend_buffer_free, buffer)
        while self._inputs:
            tensor, x = self._inputs.pop()
            self._base.ggml_backend_tensor_set(tensor, x.ctypes.data, 0, x.nbytes)

    def run(self) -> None:
        status = self._base.ggml_backend_graph_compute(self._backend, self._graph)
        if status != 0:
            raise Unavailable(f"ggml computes no graph: status {status}")

    def get(self, tensor: int, room: np.ndarray) -> np.ndarray:
        self._base.ggml_backend_tensor_get(tensor, room.ctypes.data, 0, room.nbytes)
        return room


def _best_variant(folder: Path) -> tuple[str, ctypes.CDLL]:
    """There is one for each family of processors; it scores how well it fits: 0, not at all."""
    variants = {
        path.stem.removeprefix("lib"): ctypes.CDLL(str(path))
        for path in folder.glob("libggml-cpu*.so")
    }
    name, library = max(variants.items(), key=lambda variant: variant[1].ggml_backend_score())
    if library.ggml_backend_score() == 0:
        raise Unavailable("no variant of ggml runs on this processor")
    return name, library

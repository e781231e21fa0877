"""ggml, from the library that node-llama-cpp ships. Layout: `[heads, len, head_dim]`."""

import ctypes
import platform
import weakref
from collections.abc import Callable
from ctypes import c_bool, c_char_p, c_float, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path

import c
import install
import numpy as np
from peer import Contender, Unavailable
from rows import DTYPES, Row, Tensors

PACKAGES = {
    ("Linux", "x86_64"): ("@node-llama-cpp/linux-x64", "3.22.1"),
    ("Linux", "aarch64"): ("@node-llama-cpp/linux-arm64", "3.22.1"),
}

# `enum ggml_type` and `enum ggml_prec`.
TYPES = {"f32": 0, "f16": 1, "bf16": 30}
PREC_F32 = 10


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

    def offers(self, row: Row) -> dict[str, Callable[[Row, Tensors], Contender]]:
        return {f"ggml {row.format}": self._flash_attention}

    def _flash_attention(self, row: Row, tensors: Tensors) -> Contender:
        graph = _Graph(self, row, tensors)
        return Contender(graph.run, graph.output)


class _Graph:
    """A graph of one node, with its tensors. Dimensions are written as ggml does, fastest first."""

    def __init__(self, ggml: Ggml, row: Row, tensors: Tensors):
        self._ggml, self._row = ggml, row
        base = ggml.base
        size = 8 * base.ggml_tensor_overhead() + base.ggml_graph_overhead()
        self._context = base.ggml_init(_InitParams(size, None, True))
        weakref.finalize(self, base.ggml_free, self._context)
        q = self._tensor("f32", row.head_dim, row.q_len, row.q_heads)
        k = self._tensor(row.format, row.head_dim, row.kv_len, row.kv_heads)
        v = self._tensor(row.format, row.head_dim, row.kv_len, row.kv_heads)
        mask = self._tensor("f16", row.kv_len, row.q_len) if row.causal else None
        self._o = base.ggml_flash_attn_ext(self._context, q, k, v, mask, row.scale, 0.0, 0.0)
        base.ggml_flash_attn_ext_set_prec(self._o, PREC_F32)  # as llama.cpp does
        if not base.ggml_backend_supports_op(ggml.backend, self._o):
            raise Unavailable("ggml says that it does not support this")
        self._graph = base.ggml_new_graph(self._context)
        base.ggml_build_forward_expand(self._graph, self._o)
        buffer = base.ggml_backend_alloc_ctx_tensors(self._context, ggml.backend)
        weakref.finalize(self, base.ggml_backend_buffer_free, buffer)
        formats = ("f32", row.format, row.format)
        for tensor, x, format in zip((q, k, v), tensors.by_head(), formats, strict=True):
            self._set(tensor, x, format)
        if mask is not None:
            self._set(mask, np.where(row.mask(), 0.0, -np.inf), "f16")

    def _tensor(self, format: str, *dims: int) -> int:
        lengths = (c_int64 * len(dims))(*dims)
        return self._ggml.base.ggml_new_tensor(self._context, TYPES[format], len(dims), lengths)

    def _set(self, tensor: int, x: np.ndarray, format: str) -> None:
        x = np.ascontiguousarray(x, DTYPES[format])
        self._ggml.base.ggml_backend_tensor_set(tensor, x.ctypes.data, 0, x.nbytes)

    def run(self) -> None:
        status = self._ggml.base.ggml_backend_graph_compute(self._ggml.backend, self._graph)
        if status != 0:
            raise Unavailable(f"ggml computes no graph: status {status}")

    def output(self) -> np.ndarray:
        o = np.empty((self._row.q_len, self._row.q_heads, self._row.head_dim), np.float32)
        self._ggml.base.ggml_backend_tensor_get(self._o, o.ctypes.data, 0, o.nbytes)
        return o


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

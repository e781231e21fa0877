"""Other Rust crates, through the C functions of `../rust`. Layout: `[heads, len, head_dim]`."""

import ctypes
import os
import subprocess
import tomllib
import weakref
from ctypes import c_bool, c_size_t, c_uint32, c_void_p
from functools import partial
from pathlib import Path

import build
import c
import install
import numpy as np
from arrays import aligned
from attention import Attention, Tensors
from peer import Contender, Offers, Unavailable
from rotation import Heads, Rotation

# As `../rust/src/lib.rs` numbers them.
CRATES = {"burn-flex": 0, "candle-nn": 1, "rten": 2}

FUNCTIONS = {
    "prepare": (c_void_p, [c_uint32, c_void_p]),
    "prepare_rotation": (c_void_p, [c_void_p]),
    "run": (c_bool, [c_void_p]),
    "output": (c_bool, [c_void_p, c_void_p, c_size_t]),
    "reason": (c_void_p, [c_void_p, c_void_p]),
    "discard": (None, [c_void_p]),
}


class _Problem(ctypes.Structure):
    _fields_ = [
        *(
            (name, c_size_t)
            for name in ("q_len", "kv_len", "q_heads", "kv_heads", "head_dim", "causal")
        ),
        *((name, c_void_p) for name in ("q", "k", "v", "model")),
        ("model_len", c_size_t),
    ]


class _Rotation(ctypes.Structure):
    _fields_ = [
        *((name, c_size_t) for name in ("len", "q_heads", "kv_heads", "head_dim", "interleaved")),
        *((name, c_void_p) for name in ("q", "k", "cos", "sin")),
    ]


class Rust:
    """burn-flex, candle-nn's flash attention and `rope`, rten. f32 only, no windows."""

    def __init__(self, folder: Path):
        install.pip("onnx==1.23.2")  # rten runs models
        os.environ |= {"RAYON_NUM_THREADS": "1", "RTEN_NUM_THREADS": "1"}
        try:
            library = ctypes.CDLL(str(build.library("rust", folder)))
        except (OSError, subprocess.CalledProcessError) as error:
            raise Unavailable(f"the Rust peers do not build: {error}") from error
        self._library = c.declare(library, FUNCTIONS)
        manifest = tomllib.loads((build.HERE / "rust" / "Cargo.toml").read_text(encoding="utf-8"))
        pinned = manifest["dependencies"]
        self.version = ", ".join(f"{crate} {pinned[crate].strip('=')}" for crate in CRATES)

    def attention(self, row: Attention) -> Offers:
        if row.format != "f32" or row.window:
            return {}
        return {crate: partial(self._attention, number) for crate, number in CRATES.items()}

    def rotation(self, row: Rotation) -> Offers:
        return {"candle-nn rope": self._rotation} if row.format == "f32" else {}

    def _attention(self, number: int, row: Attention, tensors: Tensors) -> Contender:
        by_head = tensors.by_head()
        model = _model(row, [x.shape for x in by_head])
        problem = _Problem(
            q_len=row.q_len,
            kv_len=row.kv_len,
            q_heads=row.q_heads,
            kv_heads=row.kv_heads,
            head_dim=row.head_dim,
            causal=row.causal,
            **{name: x.ctypes.data for name, x in zip("qkv", by_head, strict=True)},
            model=ctypes.cast(model, c_void_p),
            model_len=len(model),
        )
        handle = self._library.prepare(number, ctypes.byref(problem))
        shape = (row.q_heads, row.q_len, row.head_dim)
        prepared = _Prepared(self._library, handle, shape)
        return Contender(prepared.run, prepared.output)

    def _rotation(self, row: Rotation, heads: Heads) -> Contender:
        q, k = (aligned(x.transpose(1, 0, 2)) for x in (heads.q, heads.k))
        cos, sin = np.cos(row.f32_angles()), np.sin(row.f32_angles())
        arrays = zip(("q", "k", "cos", "sin"), (q, k, cos, sin), strict=True)
        problem = _Rotation(
            len=row.len,
            q_heads=row.q_heads,
            kv_heads=row.kv_heads,
            head_dim=row.head_dim,
            interleaved=row.pairing == "interleaved",
            **{name: x.ctypes.data for name, x in arrays},
        )
        handle = self._library.prepare_rotation(ctypes.byref(problem))
        shape = (row.q_heads + row.kv_heads, row.len, row.head_dim)
        prepared = _Prepared(self._library, handle, shape)
        return Contender(prepared.run, prepared.output)


class _Prepared:
    """Owns a handle of the library."""

    def __init__(self, library: ctypes.CDLL, handle: int, shape: tuple[int, int, int]):
        self._library, self._handle, self._shape = library, handle, shape
        weakref.finalize(self, library.discard, handle)

    def run(self) -> None:
        if not self._library.run(self._handle):
            raise Unavailable(c.text(self._library.reason, self._handle))

    def output(self) -> np.ndarray:
        o = np.empty(self._shape, np.float32)
        if not self._library.output(self._handle, o.ctypes.data, o.size):
            raise Unavailable("it has no output of the right size")
        return o.transpose(1, 0, 2)


def _model(row: Attention, shapes: list[tuple[int, ...]]) -> bytes:
    """ONNX's own `Attention` for `[1, heads, len, head_dim]`."""
    from onnx import TensorProto, helper

    def describe(name: str, shape: tuple[int, ...]):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *shape])

    node = helper.make_node("Attention", ["q", "k", "v"], ["o"], is_causal=int(row.causal))
    inputs = [describe(name, shape) for name, shape in zip("qkv", shapes, strict=True)]
    graph = helper.make_graph([node], "attention", inputs, [describe("o", shapes[0])])
    opsets = [helper.make_opsetid("", 23)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=11).SerializeToString()

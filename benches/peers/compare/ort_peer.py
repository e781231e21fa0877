"""ONNX Runtime's own operators. Layout: `[len, heads * head_dim]`, caches by head."""

from collections.abc import Callable
from pathlib import Path

import install
import numpy as np
from arrays import aligned
from attention import Attention, Tensors
from peer import Contender, Offers, Unavailable
from rotation import Heads, Rotation

PACKAGES = ("onnxruntime==1.32.0", "onnx==1.23.2")


class Ort:
    """`MultiHeadAttention`, and `GroupQueryAttention`, which is always causal: f32 only.
    `RotaryEmbedding`, also in f16."""

    def __init__(self, _folder: Path):
        install.pip(*PACKAGES)
        try:
            import onnx.helper
            import onnxruntime
        except ImportError as error:
            raise Unavailable(f"onnxruntime cannot be imported: {error}") from error
        self._onnx, self._ort = onnx, onnxruntime
        self.version = f"ONNX Runtime {onnxruntime.__version__}"

    def attention(self, row: Attention) -> Offers:
        if row.format != "f32":
            return {}
        offers = {}
        if row.q_len == row.kv_len and row.q_heads == row.kv_heads and not row.window:
            offers["ORT MultiHeadAttention"] = self._multi_head
        if row.causal or row.is_decode:
            offers["ORT GroupQueryAttention"] = self._group_query
        return offers

    def rotation(self, row: Rotation) -> Offers:
        return {"ORT RotaryEmbedding": self._rotary} if row.format in ("f32", "f16") else {}

    def _multi_head(self, row: Attention, tensors: Tensors) -> Contender:
        inputs = {
            name: x.reshape(1, len(x), -1)
            for name, x in zip(
                ("query", "key", "value"), (tensors.q, tensors.k, tensors.v), strict=True
            )
        }
        attributes = {"num_heads": row.q_heads, "unidirectional": int(row.causal)}
        return self._attention(row, "MultiHeadAttention", attributes, inputs, {})

    def _group_query(self, row: Attention, tensors: Tensors) -> Contender:
        """The call appends the last `q_len` keys to a cache that holds those before them."""
        _, past_k, past_v = tensors.by_head()
        fresh = slice(row.kv_len - row.q_len, None)
        q, k, v = (
            x.reshape(1, len(x), -1) for x in (tensors.q, tensors.k[fresh], tensors.v[fresh])
        )
        inputs = {
            "query": q,
            "key": k,
            "value": v,
            "past_key": past_k[None],
            "past_value": past_v[None],
            "seqlens_k": np.array([row.kv_len - 1], np.int32),
            "total_sequence_length": np.array(row.kv_len, np.int32),
        }
        attributes = {"num_heads": row.q_heads, "kv_num_heads": row.kv_heads}
        if row.window:
            attributes["local_window_size"] = row.window
        # An output in the place of its input is how a cache is appended to without being copied.
        caches = {"present_key": "past_key", "present_value": "past_value"}
        return self._attention(row, "GroupQueryAttention", attributes, inputs, caches)

    def _rotary(self, row: Rotation, heads: Heads) -> Contender:
        """Two nodes, which share positions and tables."""
        angles = row.f32_angles()
        q, k = (x.reshape(1, row.len, -1) for x in (heads.q, heads.k))
        floats = {"q": q, "k": k, "cos": np.cos(angles), "sin": np.sin(angles)}
        arrays = {name: aligned(x, row.format) for name, x in floats.items()}
        values = self._values(arrays | {"positions": np.arange(row.len)[None]})
        zeros = {"q_turned": np.zeros_like(q), "k_turned": np.zeros_like(k)}
        outputs = self._values({name: aligned(x, row.format) for name, x in zeros.items()})
        attributes = {"interleaved": int(row.pairing == "interleaved")}
        nodes = [
            self._node("RotaryEmbedding", [x, "positions", "cos", "sin"], [to], attributes)
            for x, to in zip("qk", outputs, strict=True)
        ]

        def output() -> np.ndarray:
            parts = [x.numpy().reshape(row.len, -1, row.head_dim) for x in outputs.values()]
            return np.concatenate(parts, axis=1, dtype=np.float32)

        return Contender(self._bound(nodes, values, outputs), output)

    def _attention(
        self, row: Attention, operator: str, attributes: dict, inputs: dict, in_place: dict
    ) -> Contender:
        values = self._values(inputs)
        outputs = self._values({"output": aligned(np.zeros_like(inputs["query"]))})
        outputs |= {name: values[source] for name, source in in_place.items()}
        node = self._node(operator, list(values), list(outputs), attributes)

        def output() -> np.ndarray:
            return outputs["output"].numpy().reshape(row.q_len, row.q_heads, row.head_dim)

        return Contender(self._bound([node], values, outputs), output)

    def _values(self, arrays: dict) -> dict:
        return {name: self._ort.OrtValue.ortvalue_from_numpy(x) for name, x in arrays.items()}

    def _node(self, operator: str, inputs: list[str], outputs: list[str], attributes: dict):
        make = self._onnx.helper.make_node
        return make(operator, inputs, outputs, domain="com.microsoft", **attributes)

    def _bound(self, nodes: list, inputs: dict, outputs: dict) -> Callable[[], object]:
        """Runs the nodes, on values that are bound to their names once."""
        session = self._session(nodes, inputs, outputs)
        binding = session.io_binding()
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            binding.bind_ortvalue_output(name, value)
        return lambda: session.run_with_iobinding(binding)

    def _session(self, nodes: list, inputs: dict, outputs: dict):
        """A model of some nodes, on one thread."""
        helper = self._onnx.helper

        def describe(values: dict) -> list:
            return [
                helper.make_tensor_value_info(name, x.element_type(), x.shape())
                for name, x in values.items()
            ]

        graph = helper.make_graph(nodes, "peer", describe(inputs), describe(outputs))
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return self._ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

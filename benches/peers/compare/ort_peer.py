"""ONNX Runtime's attention operators. Layout: `[len, heads * head_dim]`, caches by head."""

from collections.abc import Callable
from pathlib import Path

import install
import numpy as np
from peer import Contender, Unavailable
from rows import Row, Tensors, aligned

PACKAGES = ("onnxruntime==1.32.0", "onnx==1.23.2")


class Ort:
    """`MultiHeadAttention`, and `GroupQueryAttention`, which is always causal. f32 only."""

    def __init__(self, _folder: Path):
        install.pip(*PACKAGES)
        try:
            import onnx.helper
            import onnxruntime
        except ImportError as error:
            raise Unavailable(f"onnxruntime cannot be imported: {error}") from error
        self._onnx, self._ort = onnx, onnxruntime
        self.version = f"ONNX Runtime {onnxruntime.__version__}"

    def offers(self, row: Row) -> dict[str, Callable[[Row, Tensors], Contender]]:
        if row.format != "f32":
            return {}
        offers = {}
        if row.q_len == row.kv_len and row.q_heads == row.kv_heads and not row.window:
            offers["ORT MultiHeadAttention"] = self._multi_head
        if row.causal or row.is_decode:
            offers["ORT GroupQueryAttention"] = self._group_query
        return offers

    def _multi_head(self, row: Row, tensors: Tensors) -> Contender:
        inputs = {
            name: x.reshape(1, len(x), -1)
            for name, x in zip(
                ("query", "key", "value"), (tensors.q, tensors.k, tensors.v), strict=True
            )
        }
        attributes = {"num_heads": row.q_heads, "unidirectional": int(row.causal)}
        return self._contender(row, "MultiHeadAttention", attributes, inputs, {})

    def _group_query(self, row: Row, tensors: Tensors) -> Contender:
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
        return self._contender(row, "GroupQueryAttention", attributes, inputs, caches)

    def _contender(
        self, row: Row, operator: str, attributes: dict, inputs: dict, in_place: dict
    ) -> Contender:
        value_of = self._ort.OrtValue.ortvalue_from_numpy
        values = {name: value_of(x) for name, x in inputs.items()}
        outputs = {"output": value_of(aligned(np.zeros_like(inputs["query"])))}
        outputs |= {name: values[source] for name, source in in_place.items()}
        session = self._session(operator, attributes, values, outputs)
        binding = session.io_binding()
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            binding.bind_ortvalue_output(name, value)

        def output() -> np.ndarray:
            return outputs["output"].numpy().reshape(row.q_len, row.q_heads, row.head_dim)

        return Contender(lambda: session.run_with_iobinding(binding), output)

    def _session(self, operator: str, attributes: dict, inputs: dict, outputs: dict):
        """A model of one node, on one thread."""
        helper = self._onnx.helper

        def describe(values: dict) -> list:
            return [
                helper.make_tensor_value_info(name, x.element_type(), x.shape())
                for name, x in values.items()
            ]

        node = helper.make_node(
            operator, list(inputs), list(outputs), domain="com.microsoft", **attributes
        )
        graph = helper.make_graph([node], operator, describe(inputs), describe(outputs))
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return self._ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

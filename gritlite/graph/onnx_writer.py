"""Writes a graph as an ONNX file, with the weights in a file beside it.

Besides ONNX's own operators it has four of ONNX Runtime (docs/ContribOperators.md):
`GroupQueryAttention`, which rotates and attends in either direction, `DynamicQuantizeMatMul`
and `MatMulIntegerToFloat` for int8 with a scale for each channel, and `MatMulNBits` for blocks
of 32.

    embeddings       float32 [batch, tokens, width], padded behind each sequence
    last_positions   int32 [batch], the position of each sequence's last token
    total_tokens     int32, the tokens of the longest sequence, earlier ones included
    past.N.key, past.N.value   float32 [batch, kv_heads, earlier tokens, head_width]
    hidden           float32 [batch, tokens, width]
    present.N.key, present.N.value   as past, with the new tokens

The form float16 is for GPUs: it computes in float16, and keys and values, earlier and new, are
float16 too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import MissingExtraError
from gritlite.graph.matrix import Matrix
from gritlite.graph.network import Network
from gritlite.graph.rounding import Blocks
from gritlite.graph.tensors import Floats
from gritlite.graph.writer import FeedForward
from gritlite.prompt import Attention

try:
    import onnx
    from onnx import TensorProto, helper
except ModuleNotFoundError as error:
    raise MissingExtraError("onnx", "onnx", "writing a model as an ONNX graph") from error

Form = Literal["int8", "blocks", "float32", "float16"]

OPSET = 23  # the first with RMSNormalization
IR_VERSION = 10
CONTRIB = "com.microsoft"
ALIGNMENT = 4096  # of a tensor in the file of weights, so that it can be mapped
_INLINE = 1024  # bytes of a tensor that stands in the graph itself
_FLOAT32 = np.dtype(np.float32)
_TINY = 1e-12  # instead of the largest number of a token that is all zeros
_INT8_ACCURACY = 4  # MatMulNBits' accuracy_level: inputs are rounded to int8 blocks too


class OnnxWriter:
    """A `GraphWriter` of ONNX nodes.

    `weights` is the open file of weights, which the graph names `location`. `pair_limit`
    is for int8 matrices (see `round_channels`).
    """

    def __init__(
        self,
        network: Network,
        form: Form,
        weights: BinaryIO,
        location: str,
        *,
        pair_limit: int | None = None,
    ) -> None:
        self._network, self._form, self._pair_limit = network, form, pair_limit
        self._weights, self._location = weights, location
        self._type = np.dtype(np.float16) if form == "float16" else _FLOAT32
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[TensorProto] = []
        self._values = 0
        cosines, sines = network.rotary.tables()
        self._tables = [self._numbers(each) for each in (cosines, sines)]

    def embeddings(self) -> str:
        """See GraphWriter."""
        return self._cast("embeddings", self._type)

    def rms_norm(self, x: str, weight: Floats, epsilon: float) -> str:
        """See GraphWriter."""
        scale = self._numbers(weight)
        return self._node("RMSNormalization", x, scale, axis=-1, epsilon=epsilon)

    def linear(self, x: str, matrix: Matrix) -> str:
        """See GraphWriter."""
        product = self._product(x, matrix)
        bias = matrix.bias()
        return product if bias is None else self._node("Add", product, self._numbers(bias))

    def _product(self, x: str, matrix: Matrix) -> str:
        blocks = matrix.blocks() if self._form == "blocks" else None
        if blocks is not None:
            return self._blocks_product(x, matrix, blocks)
        if self._form == "int8":
            return self._int8_product(x, matrix)
        return self._node("MatMul", x, self._numbers(matrix.floats().T))

    def _blocks_product(self, x: str, matrix: Matrix, blocks: Blocks) -> str:
        rows, columns = matrix.shape
        offset = 1 << (blocks.bits - 1)  # the operator's default zero point
        stored = (blocks.values.astype(np.int16) + offset).astype(np.uint8)
        if blocks.bits == 4:
            stored = np.bitwise_or(stored[:, :, ::2], stored[:, :, 1::2] * np.uint8(16))
        return self._node(
            "MatMulNBits",
            x,
            self.constant(stored),
            self.constant(blocks.scales.astype(np.float32)),
            domain=CONTRIB,
            N=rows,
            K=columns,
            bits=blocks.bits,
            block_size=32,
            accuracy_level=_INT8_ACCURACY,
        )

    def _int8_product(self, x: str, matrix: Matrix) -> str:
        outliers = matrix.outliers
        if not outliers:
            return self._rounded_product(x, matrix, slice(None))
        large, small = self._name(), self._name()
        sizes = self._whole([outliers, matrix.shape[1] - outliers])
        self._nodes.append(helper.make_node("Split", [x, sizes], [large, small], axis=-1))
        products = (
            self._rounded_product(large, matrix, slice(None, outliers)),
            self._rounded_product(small, matrix, slice(outliers, None)),
        )
        return self._node("Add", *products)

    def _rounded_product(self, x: str, matrix: Matrix, columns: slice) -> str:
        rounded = matrix.channels(columns, pair_limit=self._pair_limit)
        weights = self.constant(rounded.values.T), self.constant(rounded.scales)
        multiplied = self._precise_multiplied if matrix.precise else self._multiplied
        if not matrix.per_token:
            return multiplied(x, *weights)
        # each token is divided by its largest number, so that one scale suits them all
        largest = self._node("ReduceMax", self._node("Abs", x), self._whole([-1]), keepdims=1)
        largest = self._node("Max", largest, self.constant(np.array(_TINY, np.float32)))
        return self._node("Mul", multiplied(self._node("Div", x, largest), *weights), largest)

    def _multiplied(self, x: str, weights: str, scales: str) -> str:
        return self._node("DynamicQuantizeMatMul", x, weights, scales, domain=CONTRIB)

    def _precise_multiplied(self, x: str, weights: str, scales: str) -> str:
        """Round inputs to 8 bits, and what is left of them to 8 bits more."""
        rounded, step, zero = self._name(), self._name(), self._name()
        self._nodes.append(helper.make_node("DynamicQuantizeLinear", [x], [rounded, step, zero]))
        product = self._node(
            "MatMulIntegerToFloat", rounded, weights, step, scales, zero, domain=CONTRIB
        )
        rest = self._node("Sub", x, self._node("DequantizeLinear", rounded, step, zero))
        return self._node("Add", product, self._multiplied(rest, weights, scales))

    def attention(self, x: str, layer: int, query: Matrix, key: Matrix, value: Matrix) -> str:
        """See GraphWriter."""
        parts = (*query.parts, *key.parts, *value.parts)
        joined = replace(query, parts=parts)
        projections = self.linear(x, joined)
        names = [f"{layer}.{part}" for part in ("key", "value")]
        past, present = ([f"{when}.{name}" for name in names] for when in ("past", "present"))
        lengths = ("last_positions", "total_tokens")
        attended = self._name()
        self._nodes.append(
            helper.make_node(
                "GroupQueryAttention",
                [projections, "", "", *past, *lengths, *self._tables],
                [attended, *present],
                domain=CONTRIB,
                num_heads=self._network.heads,
                kv_num_heads=self._network.kv_heads,
                causal=1,
                do_rotary=1,
                rotary_interleaved=int(self._network.rotary.is_interleaved),
            )
        )
        return attended

    def feed_forward(self, x: str, network: FeedForward) -> str:
        """See GraphWriter."""
        gate = self.linear(x, network.gate)
        active = self._node("Mul", gate, self._node("Sigmoid", gate))
        return self.linear(self._node("Mul", active, self.linear(x, network.up)), network.down)

    def mixture(self, x: str, router: Matrix, experts: Sequence[FeedForward], used: int) -> str:
        """See GraphWriter."""
        tokens = self._node("Reshape", x, self._whole([-1, self._network.width]))
        shares = self._shares(tokens, router, used)
        total = self._zeros_like(tokens)
        for number, expert in enumerate(experts):
            share = self._node("Gather", shares, self._whole(number), axis=1)
            places = self._node("Transpose", self._node("NonZero", share), perm=[1, 0])
            output = self.feed_forward(self._node("GatherND", tokens, places), expert)
            weights = self._node(
                "Unsqueeze", self._node("GatherND", share, places), self._whole([1])
            )
            weighted = self._node("Mul", self._cast(output, _FLOAT32), weights)
            total = self._node("ScatterND", total, places, weighted, reduction="add")
        total = self._cast(total, self._type)
        return self._node("Reshape", total, self._node("Shape", x))

    def _shares(self, tokens: str, router: Matrix, used: int) -> str:
        """Return the weight of each expert for each token, [tokens, experts].

        They are float32 in every form, and the router is never rounded: it is small, and
        another choice of experts changes much.
        """
        whole = self._cast(tokens, _FLOAT32)
        logits = self._node("MatMul", whole, self.constant(router.floats().T))
        best, chosen = self._name(), self._name()
        ranking = helper.make_node("TopK", [logits, self._whole([used])], [best, chosen], axis=-1)
        self._nodes.append(ranking)
        weights = self._node("Softmax", best, axis=-1)
        return self._node("ScatterElements", self._zeros_like(logits), chosen, weights, axis=1)

    def _zeros_like(self, x: str) -> str:
        return self._node("ConstantOfShape", self._node("Shape", x))

    def add(self, left: str, right: str) -> str:
        """See GraphWriter."""
        return self._node("Add", left, right)

    def finish(self, hidden: str) -> None:
        """See GraphWriter."""
        if self._type == _FLOAT32:  # ONNX Runtime drops this node, but would cast
            node = helper.make_node("Identity", [hidden], ["hidden"])
        else:
            node = helper.make_node("Cast", [hidden], ["hidden"], to=TensorProto.FLOAT)
        self._nodes.append(node)

    def save(self, path: Path, attention: Attention) -> None:
        """Write the graph for one direction of attention, without weights. Raises OSError."""
        direct(self._nodes, attention)
        network = self._network
        width = ["batch", "tokens", network.width]
        states = ["batch", network.kv_heads, "earlier", network.head_width]
        longer = ["batch", network.kv_heads, "all", network.head_width]
        floats, integers = TensorProto.FLOAT, TensorProto.INT32
        kept = helper.np_dtype_to_tensor_dtype(self._type)
        names = [f"{n}.{part}" for n in range(network.layers) for part in ("key", "value")]
        inputs = [
            helper.make_tensor_value_info("embeddings", floats, width),
            helper.make_tensor_value_info("last_positions", integers, ["batch"]),
            helper.make_tensor_value_info("total_tokens", integers, []),
            *(helper.make_tensor_value_info(f"past.{name}", kept, states) for name in names),
        ]
        outputs = [
            helper.make_tensor_value_info("hidden", floats, width),
            *(helper.make_tensor_value_info(f"present.{name}", kept, longer) for name in names),
        ]
        graph = helper.make_graph(self._nodes, "layers", inputs, outputs, self._initializers)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        path.write_bytes(model.SerializeToString())

    def _node(self, operator: str, *inputs: str, domain: str = "", **attributes: object) -> str:
        output = self._name()
        node = helper.make_node(operator, inputs, [output], domain=domain, **attributes)
        self._nodes.append(node)
        return output

    def _whole(self, values: int | list[int]) -> str:
        return self.constant(np.array(values, np.int64))

    def _cast(self, x: str, type: np.dtype[Any]) -> str:
        """Convert from or to float32, unless the form computes in it."""
        if self._type == _FLOAT32:
            return x
        return self._node("Cast", x, to=helper.np_dtype_to_tensor_dtype(type))

    def _numbers(self, values: Floats) -> str:
        """Add an initializer of the type that the form computes in."""
        return self.constant(values.astype(self._type, copy=False))

    def _name(self) -> str:
        self._values += 1
        return f"v{self._values}"

    def constant(self, values: NDArray[np.generic], name: str | None = None) -> str:
        """Add an initializer; large ones are appended to the file of weights."""
        values = np.asarray(values, order="C")
        tensor = TensorProto(
            name=name or self._name(),
            dims=values.shape,
            data_type=helper.np_dtype_to_tensor_dtype(values.dtype),
        )
        if values.nbytes <= _INLINE:
            tensor.raw_data = values.tobytes()
        else:
            start = -self._weights.tell() % ALIGNMENT + self._weights.tell()
            self._weights.seek(start)
            self._weights.write(values.reshape(-1).view(np.uint8).data)
            tensor.data_location = TensorProto.EXTERNAL
            entries = {"location": self._location, "offset": start, "length": values.nbytes}
            for key, value in entries.items():
                tensor.external_data.add(key=key, value=str(value))
        self._initializers.append(tensor)
        return str(tensor.name)


def direct(nodes: Iterable[onnx.NodeProto], attention: Attention) -> None:
    """Set the direction of attention of a graph's nodes."""
    for node in nodes:
        if node.op_type == "GroupQueryAttention":
            (causal,) = (each for each in node.attribute if each.name == "causal")
            causal.i = int(attention == "causal")

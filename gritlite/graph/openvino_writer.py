"""Writes a graph as OpenVINO's intermediate representation: an XML file and one of weights.

The graph has no notion of direction: a mask, added to the attention scores, says who attends
to whom, so that one compiled model serves bidirectional and causal passes, with and without
earlier keys and values. Keys of interleaved rotary embeddings have the numbers of a head in
the order of `rotary.halves`, for OpenVINO rotates halves fastest.

    embeddings       float32 [batch, tokens, width]
    cosines, sines   float32 [1, 1, tokens, head_width], both halves alike
    mask             float32 [batch or 1, 1, 1 or group * tokens, all tokens]; group is the
                     number of query heads that share a key-value head, and the rows of its
                     heads follow each other
    past.N.key, past.N.value     float32 [batch, kv_heads, earlier tokens, head_width]
    hidden                       float32 [batch, tokens, width]
    new.N.key, new.N.value       float32 [batch, kv_heads, tokens, head_width]
"""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from gritlite.graph.matrix import Matrix
from gritlite.graph.network import Network
from gritlite.graph.openvino_package import ops, ov
from gritlite.graph.rotary import halves
from gritlite.graph.tensors import Floats
from gritlite.graph.writer import FeedForward

Order = slice | NDArray[np.intp]
Form = Literal["blocks", "bfloat16", "float32"]

ALIGNMENT = 64  # bytes, of a tensor in the scratch file
_BLOCK_TYPES = {8: ov.Type.i8, 4: ov.Type.i4}


class OpenVinoWriter:
    """A `GraphWriter` of OpenVINO's nodes.

    `scratch` is an empty file, open for reading and writing, which holds the weights until
    `save` so that memory does not.
    """

    def __init__(self, network: Network, form: Form, scratch: BinaryIO) -> None:
        self._network, self._form, self._scratch = network, form, scratch
        states = [-1, network.kv_heads, -1, network.head_width]
        self._x = _parameter("embeddings", [-1, -1, network.width])
        self._cosines = _parameter("cosines", [1, 1, -1, network.head_width])
        self._sines = _parameter("sines", [1, 1, -1, network.head_width])
        self._mask = _parameter("mask", [-1, 1, -1, -1])
        self._past = [
            (_parameter(f"past.{n}.key", states), _parameter(f"past.{n}.value", states))
            for n in range(network.layers)
        ]
        self._results: list[ov.Node] = []
        self._kept: list[ov.Tensor] = []  # constants do not keep what they share

    def embeddings(self) -> ov.Output:
        """See GraphWriter."""
        return self._x.output(0)

    def rms_norm(self, x: ov.Output, weight: Floats, epsilon: float) -> ov.Output:
        """See GraphWriter."""
        # the pattern that OpenVINO's RMSFusion finds
        mean = ops.reduce_mean(ops.power(x, _number(2)), _integers(-1), keep_dims=True)
        scale = ops.power(ops.sqrt(ops.add(mean, _number(epsilon))), _number(-1))
        return ops.multiply(ops.multiply(x, scale), self._constant(weight)).output(0)

    def linear(self, x: ov.Output, matrix: Matrix) -> ov.Output:
        """See GraphWriter."""
        return self._product(x, matrix, slice(None))

    def _product(self, x: ov.Output, matrix: Matrix, order: Order) -> ov.Output:
        """Return the product with the matrix's rows in an order, plus its bias."""
        product = ops.matmul(x, self._weights(matrix, order), False, True)
        bias = matrix.bias()
        if bias is not None:
            product = ops.add(product, self._constant(bias[order]))
        return product.output(0)

    def _weights(self, matrix: Matrix, order: Order) -> ov.Node:
        """Return the matrix as float32 [n, k], which OpenVINO multiplies by as it is stored."""
        blocks = matrix.blocks() if self._form == "blocks" else None
        if blocks is not None:
            return self._blocks(blocks.values[order], blocks.scales[order], blocks.bits)
        return self._constant(matrix.floats()[order])

    def _blocks(self, values: NDArray[np.int8], scales: NDArray[np.float16], bits: int) -> ov.Node:
        stored = self._constant(_packed(values, bits), _BLOCK_TYPES[bits], values.shape)
        scaled = ops.multiply(ops.convert(stored, ov.Type.f16), self._constant(scales[:, :, None]))
        rows = ops.reshape(scaled, _integers(len(values), -1), special_zero=False)
        return ops.convert(rows, ov.Type.f32)

    def attention(
        self, x: ov.Output, layer: int, query: Matrix, key: Matrix, value: Matrix
    ) -> ov.Output:
        """See GraphWriter."""
        network = self._network
        heads, groups, width = network.heads, network.kv_heads, network.head_width
        queries = self._rotated(self._heads(self._product(x, query, self._order(heads)), heads))
        keys = self._rotated(self._heads(self._product(x, key, self._order(groups)), groups))
        values = self._heads(self.linear(x, value), groups)
        self._result(f"new.{layer}.key", keys)
        self._result(f"new.{layer}.value", values)
        past_keys, past_values = self._past[layer]
        # the query heads of a key-value head are so many more rows of one head
        attended = ops.scaled_dot_product_attention(
            ops.reshape(queries, _integers(0, groups, -1, width), special_zero=True),
            ops.concat([past_keys, keys], 2),
            ops.concat([past_values, values], 2),
            self._mask,
            causal=False,
        )
        apart = ops.reshape(attended, _integers(0, heads, -1, width), special_zero=True)
        joined = ops.transpose(apart, _integers(0, 2, 1, 3))
        return ops.reshape(joined, _integers(0, 0, heads * width), special_zero=True).output(0)

    def _order(self, heads: int) -> Order:
        """Return which row of a queries' or keys' matrix stands where."""
        if not self._network.rotary.is_interleaved:
            return slice(None)
        width = self._network.head_width
        starts = np.arange(heads)[:, None] * width
        return np.asarray(starts + halves(width)).reshape(-1)

    def _heads(self, projected: ov.Output, heads: int) -> ov.Node:
        """Return a projection as [batch, heads, tokens, head_width]."""
        shape = _integers(0, 0, heads, self._network.head_width)
        return ops.transpose(
            ops.reshape(projected, shape, special_zero=True), _integers(0, 2, 1, 3)
        )

    def _rotated(self, x: ov.Node) -> ov.Node:
        # the pattern that OpenVINO's RoPEFusion finds
        half = self._network.head_width // 2
        parts = ops.variadic_split(x, _integer(3), _integers(half, half))
        turned = ops.concat([ops.multiply(parts.output(1), _number(-1)), parts.output(0)], -1)
        return ops.add(ops.multiply(x, self._cosines), ops.multiply(turned, self._sines))

    def feed_forward(self, x: ov.Output, network: FeedForward) -> ov.Output:
        """See GraphWriter."""
        gate = ops.swish(self.linear(x, network.gate))
        return self.linear(ops.multiply(gate, self.linear(x, network.up)).output(0), network.down)

    def mixture(
        self, x: ov.Output, router: Matrix, experts: Sequence[FeedForward], used: int
    ) -> ov.Output:
        """See GraphWriter."""
        tokens = ops.reshape(x, _integers(-1, self._network.width), special_zero=False)
        shares = self._shares(tokens, router, used)
        total = _zeros_like(tokens)
        for number, expert in enumerate(experts):
            share = ops.gather(shares, _integer(number), _integer(1))
            places = ops.transpose(ops.non_zero(share, "i64"), _integers(1, 0))
            output = self.feed_forward(ops.gather_nd(tokens, places).output(0), expert)
            weights = ops.unsqueeze(ops.gather_nd(share, places), _integers(1))
            weighted = ops.multiply(output, weights)
            total = ops.scatter_nd_update(total, places, weighted, reduction="sum")
        return ops.reshape(total, ops.shape_of(x), special_zero=False).output(0)

    def _shares(self, tokens: ov.Node, router: Matrix, used: int) -> ov.Node:
        """Return the weight of each expert for each token, [tokens, experts].

        The router is never rounded: it is small, and another choice of experts changes much.
        """
        logits = ops.matmul(tokens, self._constant(router.floats()), False, True)
        best = ops.topk(logits, _integer(used), axis=1, mode="max", sort="value")
        weights = ops.softmax(best.output(0), 1)
        return ops.scatter_elements_update(
            _zeros_like(logits), best.output(1), weights, _integer(1)
        )

    def add(self, left: ov.Output, right: ov.Output) -> ov.Output:
        """See GraphWriter."""
        return ops.add(left, right).output(0)

    def finish(self, hidden: ov.Output) -> None:
        """See GraphWriter."""
        self._result("hidden", hidden)

    def save(self, path: Path) -> None:
        """Write the graph to `path`, an .xml file, and the weights to the .bin beside it.

        Raises OSError.
        """
        past = [parameter for pair in self._past for parameter in pair]
        inputs = [self._x, self._cosines, self._sines, self._mask, *past]
        model = ov.Model(self._results, inputs, "layers")
        try:
            # float16, which has more bits than bfloat16: bfloat16 would be kept as float32
            ov.save_model(model, path, compress_to_fp16=self._form == "bfloat16")
        except RuntimeError as error:
            raise OSError(errno.EIO, str(error), str(path)) from error

    def _result(self, name: str, value: ov.Node | ov.Output) -> None:
        result = ops.result(value)
        result.output(0).set_names({name})
        self._results.append(result)

    def _constant(
        self,
        values: NDArray[np.generic],
        type: ov.Type | None = None,
        shape: Sequence[int] | None = None,
    ) -> ov.Node:
        """Return a constant that is kept in the scratch file; `type` if numpy has none such."""
        self._scratch.seek(-self._scratch.tell() % ALIGNMENT, 1)
        start = self._scratch.tell()
        self._scratch.write(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
        self._scratch.flush()
        mapped = np.memmap(self._scratch, values.dtype, "r+", start, values.shape)
        tensor = (
            ov.Tensor(mapped, shared_memory=True)
            if type is None
            else ov.Tensor(mapped, list(shape or values.shape), type)
        )
        self._kept.append(tensor)
        return ops.constant(tensor, shared_memory=True)


def _packed(values: NDArray[np.int8], bits: int) -> NDArray[np.int8]:
    """Return the bytes of a constant: of two 4-bit numbers the first is in the low bits."""
    if bits == 8:
        return values
    return (values[..., ::2] & 15) | (values[..., 1::2] << 4)


def _parameter(name: str, shape: Sequence[int]) -> ov.Node:
    parameter = ops.parameter(ov.PartialShape(list(shape)), ov.Type.f32, name=name)
    parameter.output(0).set_names({name})
    return parameter


def _zeros_like(x: ov.Node) -> ov.Node:
    return ops.broadcast(_number(0), ops.shape_of(x))


def _number(value: float) -> ov.Node:
    return ops.constant(value, ov.Type.f32)


def _integer(value: int) -> ov.Node:
    return ops.constant(value, ov.Type.i64)


def _integers(*values: int) -> ov.Node:
    return ops.constant(np.array(values, np.int64))

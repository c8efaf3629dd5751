"""Token ids instead of embeddings as the input of an ONNX graph, as other programs expect.

The graph of `gritlite.graph.onnx_writer` takes embeddings, padded at the end, and earlier keys
and values. Nodes are put around it here, so that it takes and gives what transformers' models do:

    input_ids          int64 [batch, tokens]
    attention_mask     int64 [batch, tokens]: 1 for tokens, 0 for padding on either side of them
    last_hidden_state  float32 [batch, tokens, width], zeros at the padding

A row's tokens are turned to its front, and their hidden states back: a text at position p is
rotated by p more in queries and keys alike, which changes no product of the two
(arXiv 2104.09864). Where the model's vectors are multiplied by a projection, its hidden states
are: their mean is then the same. The module does not know files, tokenizers or the layers'
operators, but for attention.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import MissingExtraError

try:
    import onnx
    from onnx import NodeProto, TensorProto, helper, numpy_helper
except ModuleNotFoundError as error:
    raise MissingExtraError("onnx", "onnx", "writing a model as an ONNX graph") from error

IDS, MASK, HIDDEN = "input_ids", "attention_mask", "last_hidden_state"
# constants that the graph has: the embeddings, and a scale for each block of them
TABLE, SCALES = "token_embeddings", "token_embedding_scales"
_ATTENTION = "GroupQueryAttention"


def take_token_ids(
    path: Path,
    width: int,
    metadata: Mapping[str, str],
    projection: NDArray[np.float32] | None = None,
) -> None:
    """Change the graph in a file that `OnnxWriter` wrote, and add metadata to it.

    Its constants have the token embeddings: TABLE, floats [vocabulary, `width`], or int8
    [vocabulary, blocks, block length] with SCALES, floats [vocabulary, blocks]. Hidden states
    are multiplied by `projection` [`width`, `width`]. Raises OSError.
    """
    model = onnx.load(path, load_external_data=False)
    _put_nodes_around(model.graph, width, projection)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())


def _put_nodes_around(
    graph: onnx.GraphProto, width: int, projection: NDArray[np.float32] | None
) -> None:
    in_blocks = any(constant.name == SCALES for constant in graph.initializer)
    _drop_states(graph)
    around = _Nodes(graph)
    ids, mask, back = around.turn_to_front()
    embeddings = around.look_up(ids, width, in_blocks=in_blocks)
    # padding must not enter the scale of an int8 product
    is_token = around.node("Cast", around.unsqueezed(mask), to=TensorProto.FLOAT)
    around.node("Mul", embeddings, is_token, output="embeddings")
    layers = list(graph.node)
    del graph.node[:]
    graph.node.extend([*around.nodes, *layers])
    behind = _Nodes(graph)
    turned = behind.node("GatherND", "hidden", behind.unsqueezed(back), batch_dims=1)
    if projection is not None:
        matrix = behind.constant(projection, np.float32, [width, width])
        turned = behind.node("MatMul", turned, matrix)
    kept = behind.node("Cast", behind.unsqueezed(MASK), to=TensorProto.BOOL)
    behind.node("Where", kept, turned, behind.constant(0, np.float32, []), output=HIDDEN)
    graph.node.extend(behind.nodes)
    _declare(graph, width)


def _drop_states(graph: onnx.GraphProto) -> None:
    """Let attention read and return no keys and values of other passes."""
    for node in graph.node:
        if node.op_type == _ATTENTION:
            node.input[3] = node.input[4] = ""  # past_key, past_value
            del node.output[1:]


def _declare(graph: onnx.GraphProto, width: int) -> None:
    """Replace the graph's inputs and outputs."""
    shape = ["batch", "tokens"]
    del graph.input[:], graph.output[:]
    graph.input.extend(
        helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in (IDS, MASK)
    )
    graph.output.append(helper.make_tensor_value_info(HIDDEN, TensorProto.FLOAT, [*shape, width]))


class _Nodes:
    """Nodes to be added to a graph, and names that no other value has."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.nodes: list[NodeProto] = []
        self._graph = graph

    def node(
        self, operator: str, *inputs: str, output: str | None = None, **attributes: object
    ) -> str:
        """Add a node with one output, and return the output's name."""
        name = output or f"{operator}.{len(self.nodes)}.{len(self._graph.node)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def constant(self, values: object, dtype: type[np.generic], shape: list[int]) -> str:
        """Add a constant that is kept in the graph's own file."""
        array = np.array(values, dtype).reshape(shape)
        name = f"constant.{len(self._graph.initializer)}"
        self._graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def unsqueezed(self, x: str) -> str:
        """Return x with a last dimension of 1."""
        return self.node("Unsqueeze", x, self.constant(-1, np.int64, [1]))

    def turn_to_front(self) -> tuple[str, str, str]:
        """Return ids and mask with the tokens in front, and the places to turn states back from.

        Each is int64 [batch, tokens]. Also computes the lengths that attention asks for.
        """
        zero, one = self.constant(0, np.int64, []), self.constant(1, np.int64, [])
        tokens = self.node("Gather", self.node("Shape", IDS), one)
        self.node("Cast", tokens, output="total_tokens", to=TensorProto.INT32)
        # ArgMax finds the first of equal numbers, which is where padding ends
        mask = self.node("Cast", MASK, to=TensorProto.INT32)
        first = self.node("ArgMax", mask, axis=1, keepdims=1)
        places = self.node("Range", zero, tokens, one)
        taken = self.node("Mod", self.node("Add", places, first), tokens)
        back = self.node("Mod", self.node("Sub", places, first), tokens)
        ids = self.node("GatherElements", IDS, taken, axis=1)
        turned_mask = self.node("GatherElements", MASK, taken, axis=1)
        counts = self.node("ReduceSum", MASK, self.constant(1, np.int64, [1]), keepdims=0)
        last = self.node("Sub", self.node("Max", counts, one), one)
        self.node("Cast", last, output="last_positions", to=TensorProto.INT32)
        return ids, turned_mask, back

    def look_up(self, ids: str, width: int, *, in_blocks: bool) -> str:
        """Return the embeddings of ids, float32 [batch, tokens, width]."""
        rows = self.node("Cast", self.node("Gather", TABLE, ids), to=TensorProto.FLOAT)
        if not in_blocks:
            return rows
        scales = self.node("Cast", self.node("Gather", SCALES, ids), to=TensorProto.FLOAT)
        product = self.node("Mul", rows, self.unsqueezed(scales))
        return self.node("Reshape", product, self.constant([0, 0, width], np.int64, [3]))

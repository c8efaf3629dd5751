"""A scheduler callback that copies the final hidden states and ends the graph there.

So the output head is not computed; llama.cpp would compute it for every token of an
embedding pass. The callback can also report the inputs of each matrix.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gritlite.runtime.llama.graph import (
    MatrixInput,
    Node,
    is_layer_product,
    matrix_input,
    name_of,
)
from gritlite.runtime.llama.library import C, ggml_backend_tensor_get

_FINAL_HIDDEN_STATE = b"result_norm"  # named so for every architecture, llama-graph.cpp

Watch = Callable[[MatrixInput], None]


class HiddenStates:
    """The callback of one context and its results for the current pass.

    `hidden` contains the final hidden states, float32 [n_outputs, n_embd], or None if they
    were missing or split. `error` is an exception of `watch`, which ctypes would drop.
    """

    def __init__(self, n_embd: int, watch: Watch | None) -> None:
        self.hidden: NDArray[np.float32] | None = None
        self.error: BaseException | None = None
        self._n_embd = n_embd
        self._watch = watch
        # C holds no reference to it
        self.callback = C.ggml_backend_sched_eval_callback(self._on_node)

    def begin(self) -> None:
        """Clear the results of the last pass."""
        self.hidden = self.error = None

    def _on_node(self, node: int, ask: bool, _data: object) -> bool:
        """Called with `ask` to select nodes, then after each selected one; False ends the graph."""
        is_final = name_of(node) == _FINAL_HIDDEN_STATE
        if ask:
            return is_final or (self._watch is not None and is_layer_product(node))
        if is_final:
            self._take(node)
            return False
        return self._show(node)

    def _show(self, node: int) -> bool:
        assert self._watch is not None
        try:
            self._watch(matrix_input(node))
        except BaseException as error:  # `decode` raises it after the pass
            self.error = error
            return False
        return True

    def _take(self, node: int) -> None:
        columns, rows = Node.from_address(node).ne[:2]
        if self.hidden is not None or columns != self._n_embd:
            self.hidden = None
            return
        self.hidden = np.empty((rows, columns), np.float32)
        ggml_backend_tensor_get(node, self.hidden.ctypes.data, 0, self.hidden.nbytes)

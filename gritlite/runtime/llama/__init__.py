"""The llama.cpp engine over one loaded GGUF file; the only user of llama.cpp's C interface.

The rest of the package uses `LlamaEngine`. Below it, small wrappers each own one kind of C
object: the library, the weights, a context over them, a sampler chain. They know tokens,
positions and buffers, but not prompts or chats.
"""

from gritlite.runtime.llama.context import MAX_SEQUENCES, Batch, Context, ContextOptions
from gritlite.runtime.llama.decoders import SIZES as PARALLEL
from gritlite.runtime.llama.devices import Gpu
from gritlite.runtime.llama.engine import LlamaEngine, no_output_matrix
from gritlite.runtime.llama.graph import MatrixInput
from gritlite.runtime.llama.hidden_states import HiddenStates, Watch
from gritlite.runtime.llama.library import Capabilities, capabilities, set_verbose
from gritlite.runtime.llama.tensor_editor import TensorEditor
from gritlite.runtime.llama.vocabulary import LlamaVocabulary
from gritlite.runtime.llama.weights import GpuLayers, Weights

__all__ = [
    "MAX_SEQUENCES",
    "PARALLEL",
    "Batch",
    "Capabilities",
    "Context",
    "ContextOptions",
    "Gpu",
    "GpuLayers",
    "HiddenStates",
    "LlamaEngine",
    "LlamaVocabulary",
    "MatrixInput",
    "TensorEditor",
    "Watch",
    "Weights",
    "capabilities",
    "no_output_matrix",
    "set_verbose",
]

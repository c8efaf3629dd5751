"""The only room that touches llama.cpp's C interface.

Four small wrappers, each owning one kind of C object: the loaded library, the
weights, a context over them, and a sampler chain. They know tokens, positions
and buffers; they know nothing of prompts, texts, batches of texts or chats.
"""

from gritlite.runtime.llama.context import Batch, Context, ContextOptions
from gritlite.runtime.llama.library import Capabilities, capabilities, set_verbose
from gritlite.runtime.llama.sampler import Sampler, SamplingOptions
from gritlite.runtime.llama.weights import Weights

__all__ = [
    "Batch",
    "Capabilities",
    "Context",
    "ContextOptions",
    "Sampler",
    "SamplingOptions",
    "Weights",
    "capabilities",
    "set_verbose",
]

"""The forms of a model's graph: which runtime evaluates it, and what its matrices' numbers are.

int8        a scale for each output channel; inputs smoothed and rounded (see graph.smoothing)
blocks      the file's own numbers, in blocks of 32
float16     the numbers of the file, rounded to float16, on a GPU
bfloat16    the numbers of the file, rounded to bfloat16
float32     the numbers of the file
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gritlite.errors import UsageError

Runtime = Literal["onnx", "openvino"]
Numbers = Literal["int8", "blocks", "float16", "bfloat16", "float32"]

# what each runtime evaluates; on the processor the fastest first
NUMBERS: Mapping[Runtime, tuple[Numbers, ...]] = {
    "onnx": ("int8", "blocks", "float32", "float16"),
    "openvino": ("blocks", "bfloat16", "float32"),
}


@dataclass(frozen=True)
class Form:
    """One form of a graph. Raises UsageError for one that does not exist."""

    runtime: Runtime
    numbers: Numbers

    def __post_init__(self) -> None:
        if self.numbers not in NUMBERS.get(self.runtime, ()):
            raise UsageError(
                f"there is no graph of the form {self.name}: choose one of "
                f"{', '.join(form.name for form in FORMS)}"
            )

    @property
    def is_exact(self) -> bool:
        """Whether its vectors agree with the file's to a cosine of 0.9997."""
        return self.numbers != "int8"

    @property
    def on_gpu(self) -> bool:
        """Whether it is for a GPU, where 8-bit products are slower than those of float16."""
        return self.numbers == "float16"

    @property
    def name(self) -> str:
        """A name for folders and people, such as "onnx-int8"."""
        return f"{self.runtime}-{self.numbers}"


FORMS = tuple(Form(runtime, numbers) for runtime, each in NUMBERS.items() for numbers in each)

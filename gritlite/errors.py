"""Every exception gritlite raises on purpose, drawn as one tree.

    GritLiteError
    ├── UsageError               an invalid argument
    │   └── RequantizationError  weights would be quantized twice, which was not allowed
    ├── FileError                a file is missing, unreadable or unwritable
    │   └── OutputExistsError    an output exists already and may not be replaced
    ├── DocumentError            a document cannot be read
    ├── FormatError              a file violates its format
    ├── ArchitectureError        a model is unsupported, or its parts do not fit together
    ├── TokenizerError           a tokenizer cannot be read or converted exactly
    ├── InputError               a text cannot be processed
    │   ├── EmptyTextError       it has no tokens to pool
    │   └── InputTooLongError    it has more tokens than fit into one pass or the context
    ├── NotFiniteError           a model computed NaN or infinity
    ├── OutOfMemoryError         the machine has too little memory
    ├── MissingExtraError        an optional dependency is not installed
    ├── DeviceError              a GPU is required that the build or the machine lacks
    ├── LibraryError             llama.cpp or a library behind an extra cannot be loaded, or fails
    ├── ModelProcessError        the process of an isolated model ended before its answer
    ├── DownloadError            a download failed, or its checksum is wrong
    ├── CancelledError           the caller cancelled the job
    └── ClosedError              the model or the store is closed

    UserWarning
    ├── EngineWarning            a graph is not used, or differs from llama.cpp
    └── TruncationWarning        an input was cut, and the call continued

A message says what is wrong, where, and what to do. It names no option of the command
line; a command adds that itself. `exit_code` is the exit code of the command line: 2 for
what the user can correct, 1 for a failure of the machine or the network, 130 when
interrupted.
"""


class GritLiteError(Exception):
    """Root of every error gritlite raises on purpose."""

    exit_code = 2


class UsageError(GritLiteError):
    """An invalid argument. `argument` is its name, where the error is about one of a call's."""

    argument: str | None = None

    def __init__(self, message: str, argument: str | None = None) -> None:
        super().__init__(message)
        self.argument = argument


class RequantizationError(UsageError):
    """Weights would be quantized twice, which was not allowed."""


class FileError(GritLiteError):
    """A file is missing, unreadable or unwritable."""


class OutputExistsError(FileError):
    """An output exists already and may not be replaced."""


class DocumentError(GritLiteError):
    """A document cannot be read: it is damaged, encrypted, or being written."""


class FormatError(GritLiteError):
    """A file violates its format."""


class ArchitectureError(GritLiteError):
    """A model is unsupported, or its parts do not fit together."""


class TokenizerError(GritLiteError):
    """A tokenizer cannot be read or converted exactly."""


class InputError(GritLiteError):
    """A text cannot be processed.

    `index` is its position among several texts, counted from 0, and `problem` the
    message without that position.
    """

    def __init__(self, problem: str, index: int | None = None) -> None:
        super().__init__(problem if index is None else f"text {index + 1}: {problem}")
        self.problem = problem
        self.index = index


class EmptyTextError(InputError):
    """A text has no tokens to pool."""


class InputTooLongError(InputError):
    """A text has more tokens than fit into one pass or the context."""


class NotFiniteError(GritLiteError):
    """A model computed NaN or infinity, where only numbers make sense.

    `index` is the position of the text among several, counted from 0, if one text is the cause.
    """

    def __init__(self, what: str, index: int | None = None) -> None:
        super().__init__(
            f"the model computed NaN or infinity for {what}: its weights may be damaged, or too "
            "large for float16; check the file"
        )
        self.index = index


class OutOfMemoryError(GritLiteError):
    """The machine has too little memory."""

    exit_code = 1


class MissingExtraError(GritLiteError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f'{purpose} needs the package {package}: run  pip install "gritlite[{extra}]"'
        )


class DeviceError(GritLiteError):
    """A GPU is required that the build or the machine lacks."""


class LibraryError(GritLiteError):
    """llama.cpp or a library behind an extra cannot be loaded, or fails."""

    exit_code = 1


class ModelProcessError(GritLiteError):
    """The process of an isolated model ended before its answer; the next call starts another."""

    exit_code = 1


class DownloadError(GritLiteError):
    """A download failed, or its checksum is wrong."""

    exit_code = 1


class CancelledError(GritLiteError):
    """The caller cancelled the job."""

    exit_code = 130


class ClosedError(GritLiteError):
    """The model or the store is closed."""

    def __init__(self, problem: str = "the model is closed: load it again") -> None:
        super().__init__(problem)


class EngineWarning(UserWarning):
    """A model's graph is not used, or is used although its vectors differ from llama.cpp's."""


class TruncationWarning(UserWarning):
    """An input was cut, and the call continued."""

"""Every exception gritlite raises on purpose, drawn as one tree.

    GritLiteError
    ├── UsageError            an option or argument that cannot be right
    ├── FileError             a file that is missing, unreadable, unwritable
    │   └── OutputExistsError an output that stands already and was not to be replaced
    ├── DocumentError         a document that cannot be read
    ├── FormatError           a file whose bytes are not what its format promises
    ├── ArchitectureError     a model this version does not know, or whose parts do not fit together
    ├── TokenizerError        a tokenizer that cannot be read or carried over faithfully
    ├── InputError            a text that cannot be processed
    │   ├── EmptyTextError    no tokens to pool
    │   └── InputTooLongError more tokens than one pass, or the context, can hold
    ├── OutOfMemoryError      more memory needed than there is
    ├── MissingExtraError     an optional dependency that is not installed
    ├── DeviceError           a GPU asked for that this build or machine lacks
    ├── LibraryError          llama.cpp cannot be loaded, or cannot run on this processor
    ├── DownloadError         a fetch that failed or whose checksum is wrong
    ├── CancelledError        the caller cancelled the job
    └── ClosedError           the model was closed

    UserWarning
    └── TruncationWarning     something was cut that had to be, and the call went on

A message says what was wrong, where, and what to do. `exit_code` is what the
command line exits with: 2 where the user can mend the call, 1 where the
machine or the network failed, 130 when interrupted.
"""


class GritLiteError(Exception):
    """Root of every error gritlite raises on purpose."""

    exit_code = 2


class UsageError(GritLiteError):
    """An option or argument that cannot be right."""


class FileError(GritLiteError):
    """A file that is missing, unreadable or unwritable."""


class OutputExistsError(FileError):
    """An output that stands already and was not to be replaced."""


class DocumentError(GritLiteError):
    """A document that cannot be read: damaged, encrypted, or being written."""


class FormatError(GritLiteError):
    """A file whose bytes are not what its format promises."""


class ArchitectureError(GritLiteError):
    """A model this version does not know, or whose parts do not fit together."""


class TokenizerError(GritLiteError):
    """A tokenizer that cannot be read or carried over faithfully."""


class InputError(GritLiteError):
    """A text that cannot be processed.

    `index` is its place among several texts, counted from 0, and `problem` the
    message without that place.
    """

    def __init__(self, problem: str, index: int | None = None) -> None:
        super().__init__(problem if index is None else f"text {index + 1}: {problem}")
        self.problem = problem
        self.index = index


class EmptyTextError(InputError):
    """A text without tokens to pool."""


class InputTooLongError(InputError):
    """More tokens than one pass, or the context, can hold."""


class OutOfMemoryError(GritLiteError):
    """More memory needed than there is."""

    exit_code = 1


class MissingExtraError(GritLiteError):
    """An optional dependency that is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f'{purpose} needs the package {package}: run  pip install "gritlite[{extra}]"'
        )


class DeviceError(GritLiteError):
    """A GPU asked for that this build or machine lacks."""


class LibraryError(GritLiteError):
    """A library that cannot be loaded, or fails: llama.cpp, or one behind an extra."""

    exit_code = 1


class DownloadError(GritLiteError):
    """A fetch that failed or whose checksum is wrong."""

    exit_code = 1


class CancelledError(GritLiteError):
    """The caller cancelled the job."""

    exit_code = 130


class ClosedError(GritLiteError):
    """The model was closed."""

    def __init__(self) -> None:
        super().__init__("the model was closed: load it again")


class TruncationWarning(UserWarning):
    """Something was cut that had to be, and the call went on."""

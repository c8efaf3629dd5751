"""Fuzz model files: damaged and contradictory GGUF files, loaded, embedded and chatted with.

A file is refused with one of gritlite's errors, or it is loaded, and then each call gives a
result or such an error. Each file is used in a forked process: one that dies, hangs or raises
anything else is a failure. The children that gritlite itself starts for files that its checks
do not fully know are forked too, for speed; they run the same code.
"""

import contextlib
import os
import random
import resource
import select
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path

from fuzz.counting import Outcome, check_message
from gritlite.errors import GritLiteError
from gritlite.modelfile.description import describe
from gritlite.modelfile.header import read_header
from gritlite.runtime import model_probe, model_probe_child, probe
from gritlite.runtime.model import GritLM
from gritlite.runtime.trial import Trial, untested
from tests.modelfile.gguf_document import parse
from tests.modelfile.gguf_edits import edit
from tests.modelfile.gguf_mutations import damage
from tests.sample_gguf import BPE, SPM, write_model

Work = Callable[[Callable[[str], None]], None]

_SECONDS = 30  # for one file; a sound one takes a twentieth of a second
_MEMORY = 8 << 30  # bytes of address space
_SOUND = (
    {"tokenizer": SPM},
    {"tokenizer": BPE, "bias": True},
    {"tokenizer": BPE, "arch": "qwen2", "bias": True},
    {"tokenizer": SPM, "experts": 4},
)
_MESSAGES = [{"role": "user", "content": "hello <s> é 東京"}]


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that is deleted at exit."""
    return tempfile.TemporaryDirectory()


@cache
def _sound() -> tuple[Path, ...]:
    return tuple(
        write_model(Path(_folder().name) / f"sound-{number}.gguf", **options)
        for number, options in enumerate(_SOUND)
    )


def case(rng: random.Random) -> Outcome:
    """Damage a sound file and use it. Raises AssertionError for anything but an error of ours."""
    path = Path(_folder().name) / "damaged.gguf"
    path.write_bytes(damaged(rng))
    return use(path)


def damaged(rng: random.Random) -> bytes:
    """Return a damaged file: its parts edited, its bytes, or both."""
    source = rng.choice(_sound())
    document = parse(source)
    if rng.random() < 0.75:
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            edit(rng, document)
        data: bytes = document.encode()
        return data if rng.random() < 0.95 else data[: rng.randrange(len(data))]
    whole: bytes = damage(rng, read_header(source))
    return whole


def use(path: Path) -> Outcome:
    """Use a file in a forked process. Raises AssertionError if that ends badly."""
    probe.ensure_safe()  # before the fork, so that it runs once
    ended = forked(partial(_use, path), _SECONDS)
    if ended.problem:
        raise AssertionError(f"{ended.problem}; last: {ended.output}")
    return "refused" if "refused" in ended.output.splitlines() else "right"


def _use(path: Path, say: Callable[[str], None]) -> None:
    model_probe.run_trial = _forked_trial  # type: ignore[attr-defined]
    model_probe.cache.keep_record = lambda *_: None  # type: ignore[attr-defined]
    # OpenMP's threads do not survive a fork, if the tests that ran before have started some
    model_probe_child.default_threads = lambda: 1  # type: ignore[attr-defined]
    try:
        say("reading")
        describe(read_header(path))
        say("loading")
        model = GritLM(path, threads=1)
    except GritLiteError as error:
        check_message(error)
        say("refused")
        return
    with model:
        say("embedding")
        with _errors():
            model.encode(["a text", "<s> é 東京 \n\t🙂"])
        say("chatting")
        with _errors():
            model.chat(_MESSAGES, max_tokens=3)
        say("embedding again")
        with _errors():
            model.chat(_MESSAGES, document=model.document_state("a text"), max_tokens=2)
        say("continuing")
        with _errors():
            model.generate("hello", max_tokens=2, temperature=0)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except GritLiteError as error:
        check_message(error)


def _forked_trial(
    command: Sequence[str],
    *,
    timeout: float,
    waiting: Callable[[], object] = lambda: None,  # noqa: ARG001 - nobody cancels here
) -> Trial:
    """Run the model probe's child in a forked process, for at most 5 seconds."""
    path, layers, repack = command[-3:]

    def child(say: Callable[[str], None]) -> None:
        sys.stdout = _Lines(say)
        with contextlib.suppress(GritLiteError):
            model_probe_child.try_file(Path(path), layers, repack)

    ended = forked(child, min(5, timeout))
    if "SIGKILL" in ended.problem:
        raise untested(ended.problem)
    return ended


class _Lines:
    """A standard output whose lines go to `say`."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def write(self, text: str) -> int:
        if text.strip():
            self._say(text.strip())
        return len(text)

    def flush(self) -> None:
        """Do nothing: each line is sent at once."""


def forked(work: Work, seconds: float) -> Trial:
    """Run `work` in a forked process; it may `say` lines. Returns how it ended."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        _run_child(work, write)
    os.close(write)
    output = b""
    problem = ""
    while True:
        ready, _, _ = select.select([read], [], [], seconds)
        if not ready:
            os.kill(child, signal.SIGKILL)
            problem = f"no result after {seconds} s"
            break
        data = os.read(read, 1 << 16)
        if not data:
            break
        output += data
    os.close(read)
    _, status = os.waitpid(child, 0)
    if not problem and os.WIFSIGNALED(status):
        problem = f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    elif not problem and os.WEXITSTATUS(status):
        problem = f"exit code {os.WEXITSTATUS(status)}: {output.decode(errors='replace')}"
    return Trial(problem, output.decode("utf-8", "replace"))


def _run_child(work: Work, write: int) -> None:
    """Run `work` in the child, and end it."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))  # if nobody waits any more
    os.environ["GGML_NO_BACKTRACE"] = "1"  # or an aborting ggml calls a debugger
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    code = 0

    def say(text: str) -> None:
        os.write(write, text.encode() + b"\n")

    try:
        work(say)
    except BaseException:
        os.write(write, traceback.format_exc().encode())
        code = 1
    finally:
        os._exit(code)

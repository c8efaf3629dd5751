"""The model probe's child process: loads one file, embeds and generates a few tokens.

Usage: python -m gritlite.runtime.model_probe_child FILE GPU_LAYERS repack|plain

It does what `GritLM` does with its engine, in the same order on the same contexts. It prints
each step before it takes it. An error that gritlite would report is no failure: the process
that loads the file afterwards reports it. Exits with NO_ROOM if memory or disk space runs
out, as that is not a fault of llama.cpp.
"""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gritlite.errors import GritLiteError, OutOfMemoryError
from gritlite.modelfile.header import read_header
from gritlite.modelfile.memory import PASS_TOKENS
from gritlite.prompt import Attention, EmbedFormat
from gritlite.runtime.engine import Tokens
from gritlite.runtime.llama import LlamaEngine
from gritlite.runtime.options import SamplingOptions
from gritlite.runtime.tokens import Tokenizer
from gritlite.runtime.trial import NO_ROOM
from gritlite.system.processes import end_with_parent
from gritlite.system.threads import default_threads

_TEXTS = ("", "a", "The quick\tbrown fox, 12345!\n\n  déjà vu 東京 🙂", "<s></s><|im_end|>")
_CONTEXT, _TOKENS = 64, 32


def main() -> None:
    """Try the file that the command line names."""
    end_with_parent()
    try:
        try_file(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
    except (OSError, MemoryError, OutOfMemoryError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(NO_ROOM)
    except GritLiteError:
        sys.exit(0)


def try_file(path: Path, gpu_layers: str, repack: str) -> None:
    """Load the file, tokenize, embed and generate."""
    file = read_header(path)
    _say("loading")
    layers = int(gpu_layers) if gpu_layers.isdecimal() else gpu_layers
    engine = LlamaEngine(
        path,
        threads=default_threads(),
        gpu_layers=layers,  # type: ignore[arg-type]
        repack=repack == "repack",
    )
    with contextlib.ExitStack() as opened:
        opened.enter_context(contextlib.closing(engine))
        _say("tokenizing")
        tokens = _tokenize(engine)
        attention = EmbedFormat.from_metadata(file.metadata).attention
        for _ in range(2):  # again beside the contexts of the first round
            _say("embedding")
            with _reported():
                _embed(engine, tokens, attention, opened)
            _say("generating")
            with _reported():
                _generate(engine, tokens, opened)
    _say("done")


def _tokenize(engine: LlamaEngine) -> Tokens:
    """Tokenize several texts both ways, and read every token's text; return a few tokens."""
    vocabulary = engine.vocabulary
    tokenizer = Tokenizer(vocabulary)
    for text in _TEXTS:
        vocabulary.tokenize(text, parse_control=True)
        tokenizer.plain(text)
        tokenizer.prompt(text)
    for token in range(vocabulary.size):
        vocabulary.token_text(token)
        vocabulary.is_end(token)
    tokens = tokenizer.plain("".join(_TEXTS))[:_TOKENS]
    return tokens if len(tokens) else np.zeros(1, np.int32)


def _embed(
    engine: LlamaEngine, tokens: Tokens, attention: Attention, opened: contextlib.ExitStack
) -> None:
    size = min(PASS_TOKENS, engine.trained_context)
    embedding_pass = opened.enter_context(contextlib.closing(engine.open_pass(size, attention)))
    embedding_pass.run([tokens, tokens[:1]], [0, 0], return_states=True)


def _generate(engine: LlamaEngine, tokens: Tokens, opened: contextlib.ExitStack) -> None:
    capacity = min(_CONTEXT, engine.trained_context)
    decoder = opened.enter_context(contextlib.closing(engine.open_decoder(capacity, capacity)))
    prompt = tokens[: max(1, capacity - 1)].tolist()
    last = np.arange(len(prompt)) == len(prompt) - 1
    decoder.evaluate(prompt, 0, last)
    sampler = engine.sampler(SamplingOptions(temperature=0.7), prompt)
    token = sampler.choose(decoder.logits(1)[0])
    if len(prompt) < capacity:
        decoder.evaluate([token], len(prompt), np.ones(1, np.bool_))
    state = decoder.state()
    decoder.truncate(0)
    decoder.restore(state)
    decoder.truncate(0)
    decoder.evaluate(prompt, 0, last, "bidirectional")


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    """Leave an error that has a message to the process that will meet it."""
    try:
        yield
    except OutOfMemoryError:
        raise
    except GritLiteError:
        return


def _say(step: str) -> None:
    print(step, flush=True)


if __name__ == "__main__":
    main()

"""Prompts read by the graph engine and handed over to llama.cpp, beside llama.cpp alone.

    python benchmarks/prefill.py MODEL xquad.en.json [--forms onnx-blocks openvino-blocks]

Three tables, all of them turn about in one process:

    TTFT    seconds to the first token of prompts of about so many tokens, medians
    KL      of the next token's distribution after a text, to that after llama.cpp's own
            reading: mean and 99th percentile over many positions. For comparison: states
            stored in q8_0, and llama.cpp's own reading in parts of 64 tokens
    match   whether the words of an accepted answer occur in the greedy answer, to questions
            about one of several passages in the prompt

On a busy machine `--processor-time` with `--threads 1` counts only this process's own seconds.
Graphs are written to the cache first, which takes a while. int8 is not smoothed here.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gritlite import GritLM
from gritlite.eval.exact_match import ASKED, MAX_TOKENS, match
from gritlite.eval.squad import Question, read_squad
from gritlite.eval.task import spread
from gritlite.rag.state_quantization import pack, unpack
from gritlite.runtime.answer import Answer
from gritlite.runtime.engine import Decoder, KeyValues, PrefillEngine
from gritlite.runtime.generator import Generator
from gritlite.runtime.onnx.forms import FORMS
from gritlite.runtime.onnx.opening import open_graph
from gritlite.runtime.onnx.preparation import prepare
from gritlite.runtime.options import generate_options
from gritlite.runtime.scheduler import Scheduler

Clock = Callable[[], float]

ALONE = "llama.cpp"
READ, COMPARED = 700, 200  # tokens of a text that are read first, and behind them compared
BATCH = 512


def open_engines(
    model: GritLM, names: Sequence[str], stack: ExitStack
) -> dict[str, PrefillEngine | None]:
    """Prefill engines by their forms' names; llama.cpp alone is None."""
    found: dict[str, PrefillEngine | None] = {ALONE: None}
    for form in (form for form in FORMS if form.name in names):
        graph = prepare(model.file, form, threads=model.threads)
        engine = open_graph(graph, model.file, threads=model.threads)
        stack.callback(engine.close)
        found[form.name] = engine
    return found


def generator_of(model: GritLM, engine: PrefillEngine | None, context: int) -> Generator:
    """A generator that keeps no conversations."""
    return Generator(
        model.engine,
        Scheduler(),
        context_length=context,
        conversation_bytes=0,
        token_bytes=1,
        context_bytes=0,
        prefill_engine=engine,
    )


def answer(
    generator: Generator, tokens: Sequence[int], most: int, clock: Clock = time.perf_counter
) -> tuple[float, str]:
    """Seconds to the first token of a greedy answer with nothing cached, and the answer."""
    generator.clear()
    options = generate_options(temperature=0, max_tokens=most)
    start = clock()
    pieces = Answer(generator, tokens, options)
    first = next(pieces, "")
    return clock() - start, first + "".join(pieces)


def first_tokens(
    generators: Mapping[str, Generator],
    ids: Sequence[int],
    lengths: Sequence[int],
    rounds: int,
    clock: Clock,
) -> None:
    """Print the table of times to the first token."""
    print("\n| prompt | engine | TTFT | sooner by |\n|---|---|---|---|")
    for length in lengths:
        seconds: dict[str, list[float]] = {name: [] for name in generators}
        for number in range(rounds + 1):
            for name, generator in generators.items():
                spent, _ = answer(generator, ids[:length], 1, clock)
                if number:  # the first round loads and warms up
                    seconds[name].append(spent)
        medians = {name: statistics.median(each) for name, each in seconds.items()}
        for name, median in medians.items():
            print(f"| {length:,} | {name} | {median:.2f} s | {medians[ALONE] / median:.2f} |")


def read_by_llama(decoder: Decoder, ids: Sequence[int], batch: int = BATCH) -> KeyValues:
    """The state of tokens, read by llama.cpp in parts."""
    decoder.truncate(0)
    for start in range(0, len(ids), batch):
        part = ids[start : start + batch]
        decoder.evaluate(part, start, np.zeros(len(part), np.bool_))
    return decoder.state()


def read_by_graph(engine: PrefillEngine, ids: Sequence[int], _: KeyValues) -> KeyValues:
    """The state of tokens, read by a graph."""
    prefill = engine.open_prefill(None, len(ids))
    size = prefill.part_tokens
    parts = [prefill.evaluate(ids[start : start + size]) for start in range(0, len(ids), size)]
    prefill.close()
    return KeyValues(
        tuple(map(np.concatenate, zip(*(part.keys for part in parts), strict=True))),
        tuple(map(np.concatenate, zip(*(part.values for part in parts), strict=True))),
    )


def in_q8_0(state: KeyValues) -> KeyValues:
    """A state stored in q8_0 and read again."""

    def stored(array: NDArray[np.float16], *, keys: bool) -> NDArray[np.float16]:
        rows = array.reshape(len(array), -1)
        data = pack(rows, "q8_0", keys=keys)
        found = unpack(np.frombuffer(data, np.uint8), rows.shape[1], "q8_0", keys=keys)
        return found.reshape(array.shape)

    return KeyValues(
        tuple(stored(array, keys=True) for array in state.keys),
        tuple(stored(array, keys=False) for array in state.values),
    )


def log_probabilities(
    decoder: Decoder, state: KeyValues, ids: Sequence[int]
) -> NDArray[np.float64]:
    """Of the next token at each of the tokens that follow a state, [tokens, vocabulary]."""
    decoder.truncate(0)
    decoder.restore(state)
    decoder.evaluate(ids, state.tokens, np.ones(len(ids), np.bool_))
    logits = decoder.logits(len(ids)).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    found: NDArray[np.float64] = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return found


def divergences(
    model: GritLM, engines: Mapping[str, PrefillEngine | None], texts: Sequence[Sequence[int]]
) -> None:
    """Print the table of KL divergences."""
    decoder = model.engine.open_decoder(READ + COMPARED, BATCH, all_logits=True)
    ways: dict[str, Callable[[Sequence[int], KeyValues], KeyValues]] = {
        "llama.cpp, states in q8_0": lambda _, own: in_q8_0(own),
        "llama.cpp, in parts of 64": lambda ids, _: read_by_llama(decoder, ids, 64),
    }
    for name, engine in engines.items():
        if engine is not None:
            ways[name] = partial(read_by_graph, engine)
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in ways}
    agree: dict[str, list[NDArray[np.bool_]]] = {name: [] for name in ways}
    for ids in texts:
        first, rest = ids[:READ], ids[READ : READ + COMPARED]
        own = read_by_llama(decoder, first)
        expected = log_probabilities(decoder, own, rest)
        for name, way in ways.items():
            logs = log_probabilities(decoder, way(first, own), rest)
            found[name].append((np.exp(expected) * (expected - logs)).sum(axis=1))
            agree[name].append(expected.argmax(axis=1) == logs.argmax(axis=1))
    decoder.close()
    print(f"\n{len(texts)} texts, {COMPARED} positions behind {READ} tokens of each\n")
    print("| state | KL | 99th percentile | same token |\n|---|---|---|---|")
    for name, each in found.items():
        kl, same = np.concatenate(each), np.concatenate(agree[name]).mean()
        print(f"| {name} | {kl.mean():.5f} | {np.percentile(kl, 99):.4f} | {same:.1%} |")


def prompts(
    model: GritLM, questions: Sequence[Question], count: int, passages: int
) -> Iterator[tuple[Question, list[int]]]:
    """Questions, spread evenly, with the tokens of a prompt of several passages."""
    paragraphs = list(dict.fromkeys(question.paragraph for question in questions))
    asked = spread([question for question in questions if question.answers], count)
    for number, question in enumerate(asked):
        place = paragraphs.index(question.paragraph)
        others = [paragraphs[(place + 7 * n) % len(paragraphs)] for n in range(1, passages)]
        others.insert(number % passages, question.paragraph)
        content = "\n\n".join([*others, ASKED.replace("{question}", question.text)])
        yield question, model.chat_tokens([{"role": "user", "content": content}])


def matches(
    generators: Mapping[str, Generator], asked: Sequence[tuple[Question, list[int]]]
) -> None:
    """Print the table of answers."""
    hits: dict[str, list[bool]] = {name: [] for name in generators}
    texts: dict[str, list[str]] = {name: [] for name in generators}
    for question, tokens in asked:
        for name, generator in generators.items():
            _, text = answer(generator, tokens, MAX_TOKENS)
            texts[name].append(text)
            hits[name].append(max(match(text, each) for each in question.answers))
    length = statistics.median(len(tokens) for _, tokens in asked)
    print(f"\n{len(asked)} questions, prompts of {length:.0f} tokens (median)\n")
    print("| engine | match | same text |\n|---|---|---|")
    for name in generators:
        pairs = zip(texts[name], texts[ALONE], strict=True)
        same = statistics.mean(ours == theirs for ours, theirs in pairs)
        print(f"| {name} | {statistics.mean(hits[name]):.3f} | {same:.1%} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("questions", type=Path)
    parser.add_argument("--forms", nargs="+", default=["onnx-blocks"])
    parser.add_argument("--tokens", nargs="*", type=int, default=[1000, 4000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=20)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--passages", type=int, default=4)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--processor-time", action="store_true")
    options = parser.parse_args()
    clock = time.process_time if options.processor_time else time.perf_counter
    context = max([*options.tokens, 2048]) + 64
    with GritLM(options.model, threads=options.threads) as model, ExitStack() as stack:
        engines = open_engines(model, options.forms, stack)
        generators = {name: generator_of(model, each, context) for name, each in engines.items()}
        for generator in generators.values():
            stack.callback(generator.close)
        questions = read_squad(options.questions)
        paragraphs = dict.fromkeys(question.paragraph for question in questions)
        ids = model.prompt_tokens("\n\n".join(paragraphs))
        if options.tokens:
            first_tokens(generators, ids, options.tokens, options.rounds, clock)
        if options.texts:
            step = READ + COMPARED
            texts = [ids[step * n : step * (n + 1)] for n in range(options.texts)]
            divergences(model, engines, texts)
        if options.count:
            matches(generators, list(prompts(model, questions, options.count, options.passages)))


if __name__ == "__main__":
    main()

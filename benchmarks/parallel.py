"""Answers at once: 1, 2, 4 and 8 clients of one model, decoded together or one after another.

    python benchmarks/parallel.py MODEL [--clients 1 2 4 8] [--prompt 200] [--tokens 32]

Two models of one file, one that decodes one answer at a time and one that decodes up to as many
as there are clients together, answer the same prompts of about PROMPT tokens turn about, with
TOKENS tokens each. Prints the median of all clients' tokens a second, from the first token of
the last client on, what a client gets that is alone there, and whether every answer is, byte
for byte, that of a client alone. With --processor-time the seconds are those that the processors
worked, for a machine that is not quiet.
"""

import argparse
import statistics
import threading
import time
from typing import Any

from gritlite import GritLM

_TEXT = "The red ferry leaves at noon, and the inn on the hill has nine rooms. "


def _prompts(model: GritLM, tokens: int, clients: int) -> list[str]:
    repeats = max(1, tokens // len(model.tokenize(_TEXT)))
    return [f"Client {number} says: {_TEXT * repeats}" for number in range(clients)]


def _together(
    model: GritLM, prompts: list[str], options: argparse.Namespace
) -> tuple[float, list[str]]:
    """Tokens a second once all prompts are read, and the answers."""
    clock = time.process_time if options.processor_time else time.perf_counter
    model.clear_cache()
    begun, texts = threading.Barrier(len(prompts) + 1), [""] * len(prompts)
    sampling: dict[str, Any] = {"temperature": 0, "max_tokens": options.tokens + 1}

    def client(number: int) -> None:
        answer = model.generate(prompts[number], stream=True, **sampling)
        first = next(answer, "")
        begun.wait()
        texts[number] = first + "".join(answer)

    # a model with one place reads the prompts again after the barrier, but for what it saves
    threads = [threading.Thread(target=client, args=(n,)) for n in range(len(prompts))]
    for thread in threads:
        thread.start()
    begun.wait()
    start = clock()
    for thread in threads:
        thread.join()
    return len(prompts) * options.tokens / (clock() - start), texts


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--clients", type=int, nargs="+", default=(1, 2, 4, 8))
    parser.add_argument("--prompt", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--processor-time", action="store_true")
    options = parser.parse_args()
    context = 2 * (options.prompt + options.tokens) + 64
    shared: dict[str, Any] = {"threads": options.threads, "context_length": context}
    print("clients  one by one, tokens/s  together  ratio  one client there  equal answers")
    for clients in options.clients:
        with (
            GritLM(options.model, **shared) as one,
            GritLM(options.model, parallel=clients, **shared) as several,
        ):
            prompts = _prompts(one, options.prompt, clients)
            alone = [_together(several, [prompt], options)[1][0] for prompt in prompts]
            speeds: dict[str, list[float]] = {"one": [], "several": [], "alone": []}
            equal = True
            for _ in range(options.rounds):
                speeds["one"].append(_together(one, prompts, options)[0])
                speed, texts = _together(several, prompts, options)
                speeds["several"].append(speed)
                speeds["alone"].append(_together(several, prompts[:1], options)[0])
                equal &= texts == alone
        slow, fast, only = (statistics.median(values) for values in speeds.values())
        figures = f"{slow:20.1f}  {fast:8.1f}  {fast / slow:5.2f}  {only:16.1f}"
        print(f"{clients:7}  {figures}  {equal}", flush=True)


if __name__ == "__main__":
    main()

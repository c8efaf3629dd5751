"""The benefit of keeping interrupted conversations: two chats take turns on one model.

    python benchmarks/conversations.py MODEL [--tokens 1000] [--turns 5]

Two models, one that keeps conversations and one that does not, answer the same two chats turn
about; each chat begins with a message of about TOKENS tokens. Prints the median time to the
first token of every turn but the first of each chat.
"""

import argparse
import statistics
import time

from gritlite import GritLM
from gritlite.runtime.template import Message

_WORDS = {"inn": "The inn on the hill has nine rooms. ", "ferry": "The red ferry leaves at noon. "}


def _first_messages(model: GritLM, tokens: int) -> dict[str, list[Message]]:
    repeats = {name: tokens // len(model.tokenize(text)) for name, text in _WORDS.items()}
    return {
        name: [{"role": "user", "content": _WORDS[name] * count}] for name, count in repeats.items()
    }


def _answer(model: GritLM, messages: list[Message]) -> tuple[float, str]:
    """Seconds to the first token, and the answer."""
    start = time.perf_counter()
    answer = model.chat(messages, stream=True, temperature=0, max_tokens=16)
    first = next(answer, "")
    seconds = time.perf_counter() - start
    return seconds, first + "".join(answer)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    with GritLM(options.model) as keeps, GritLM(options.model, conversation_bytes=0) as plain:
        models = {"kept": keeps, "not kept": plain}
        chats = {name: _first_messages(model, options.tokens) for name, model in models.items()}
        seconds: dict[str, list[float]] = {name: [] for name in models}
        for turn in range(options.turns):
            for chat in _WORDS:
                for name, model in models.items():
                    messages = chats[name][chat]
                    spent, text = _answer(model, messages)
                    if turn:
                        seconds[name].append(spent)
                    said: list[Message] = [
                        {"role": "assistant", "content": text},
                        {"role": "user", "content": "And what else?"},
                    ]
                    chats[name][chat] = [*messages, *said]
        if chats["kept"] != chats["not kept"]:
            print("the answers differ, by rounding: batches are cut in other places")
    kept, evaluated = (statistics.median(seconds[name]) for name in models)
    print(f"first token: {kept:.3f} s kept, {evaluated:.3f} s evaluated again")
    print(f"ratio of medians {evaluated / kept:.1f}, {len(seconds['kept'])} turns each")


if __name__ == "__main__":
    main()

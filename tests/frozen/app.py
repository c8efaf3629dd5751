"""The app that is frozen: it does with gritlite what a desktop app does, and says what came.

Usage: app MODEL FOLDER STORE

It prints a line of JSON for each step. Nothing in it is there for the sake of freezing.
"""

import json
import os
import signal
import sys

import gritlite
from gritlite import GritLM, IsolatedGritLM, ModelProcessError, Store

TEXTS = ["The ferry leaves at seven.", "Let the dough rise."]
QUESTION = "When does the ferry to the island leave?"


def main() -> None:
    """Outlive a model's process; then load, embed, chat, cancel, index and answer."""
    model_path, folder, store_path = sys.argv[1:]
    say("started", version=gritlite.__version__)
    outlive(model_path)
    with GritLM(model_path) as model:
        vectors = model.encode(TEXTS)
        say("embedded", shape=vectors.shape, norm=float(vectors[0] @ vectors[0]))
        hello = {"role": "user", "content": "Count from one to a hundred."}
        say("chatted", text=model.chat([hello], temperature=0, max_tokens=12))
        with model.chat([hello], stream=True, max_tokens=200) as answer:
            next(answer)
            answer.cancel()
            list(answer)
        say("cancelled", reason=answer.finish_reason, tokens=len(answer.generated))
        with Store.open(store_path, model) as store:
            update = store.add(folder)
            say("indexed", failed=[str(each) for each in update.changes.failed])
            answered = store.ask(QUESTION, max_tokens=60, min_score=0)
            names = store.names(answered.passages)
            say("answered", text=answered.text, sources=names)


def outlive(model_path: str) -> None:
    """Embed in a process of the model's own, which is killed, and embed in the next one."""
    with IsolatedGritLM(model_path) as model:
        vectors = model.encode(TEXTS)
        first = model.process_id
        assert first is not None
        say("isolated", shape=vectors.shape)
        try:
            model.encode(TEXTS, progress=lambda *_: os.kill(first, signal.SIGKILL))
        except ModelProcessError as error:
            say("crashed", error=str(error))
        same = bool((model.encode(TEXTS) == vectors).all())
        say("restarted", same=same, another=model.process_id not in (None, first))


def say(step: str, **facts: object) -> None:
    """Print a step at once."""
    print(json.dumps({"step": step, **facts}), flush=True)


if __name__ == "__main__":
    main()

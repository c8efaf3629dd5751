"""Two ways of serving both tasks from one copy of the weights, compared.

`two`: a context for chat and one for embedding (what the product does).
`flip`: one context whose causal mask is switched. `chat`: chat alone, for the memory.
Each way runs in a child process of its own; its passes and tokens take turns:

    python benchmarks/switching.py MODEL.gguf [--context 4096] [--history 0,1024,3072] [--rounds 7]

With --rounds 0 only memory is measured. The switch of a large model is best timed with
short passes, so that many fit in a minute: --embed-tokens 16 --history 16 --rounds 16.

Prints for each way: resident memory; milliseconds per token directly after an
embedding pass, and the difference to a token after a token (the switch); embedding
tokens per second while a chat of that many tokens is in the KV cache.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from llama_cpp import llama_cpp

from gritlite.runtime.llama import Batch, Context, ContextOptions, HiddenStates, Weights
from gritlite.system.threads import default_threads

PASS_TOKENS = 512
TEXTS = 4  # texts in a pass


class Way(Protocol):
    """A way of serving chat tokens and embedding passes."""

    def token(self, position: int) -> None:
        """Evaluate one chat token."""

    def prefill(self, count: int) -> None:
        """Hold a chat of so many tokens."""

    def embed(self, tokens: int) -> None:
        """Run one embedding pass of so many tokens."""


class Two:
    """A causal context and a bidirectional one over the same weights."""

    def __init__(self, weights: Weights, n_ctx: int, *, embeds: bool = True) -> None:
        threads = default_threads()
        self._chat = Context(weights, ContextOptions(n_ctx, PASS_TOKENS, threads))
        self._embed = (
            Context(
                weights,
                ContextOptions(
                    PASS_TOKENS, PASS_TOKENS, threads, n_seq_max=256, causal=False, hidden=True
                ),
            )
            if embeds
            else None
        )

    def token(self, position: int) -> None:
        """Evaluate one chat token."""
        self._chat.remove(0, position)
        self._chat.decode(chat_batch(position, 1))

    def prefill(self, count: int) -> None:
        """Hold a chat of so many tokens."""
        self._chat.clear()
        for start in range(0, count, PASS_TOKENS):
            self._chat.decode(chat_batch(start, min(PASS_TOKENS, count - start)))

    def embed(self, tokens: int) -> None:
        """Run one embedding pass."""
        assert self._embed is not None
        self._embed.clear()
        self._embed.decode(embed_batch(tokens, first_sequence=0))


class _SwitchedTap(HiddenStates):
    """The tap of embedding contexts, looking only while `on`."""

    on = False

    def _on_node(self, node: int, ask: bool, data: object) -> bool:
        return self.on and super()._on_node(node, ask, data)


class Flip:
    """One context that flips between the modes; chat is sequence 0, texts are 1 and up."""

    def __init__(self, weights: Weights, n_ctx: int) -> None:
        self._tap = _SwitchedTap(weights.n_embd, watch=None)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = n_ctx + PASS_TOKENS
        params.n_batch = params.n_ubatch = PASS_TOKENS
        params.n_seq_max = 256
        params.n_threads = params.n_threads_batch = default_threads()
        params.flash_attn_type = 1
        params.kv_unified = True
        params.no_perf = True
        params.cb_eval = self._tap.callback
        self._context = Context.__new__(Context)
        self._context.options = ContextOptions(n_ctx, PASS_TOKENS, default_threads())
        self._context.weights = weights
        self._context._hidden_states = None
        self._context._context = llama_cpp.llama_init_from_model(weights.model, params)
        self._context._memory = llama_cpp.llama_get_memory(self._context._context)

    def _mode(self, *, embeds: bool) -> None:
        llama_cpp.llama_set_causal_attn(self._context.pointer, not embeds)
        self._tap.on = embeds
        self._tap.hidden = None

    def token(self, position: int) -> None:
        """Evaluate one chat token."""
        self._mode(embeds=False)
        self._context.remove(0, position)
        self._context.decode(chat_batch(position, 1))

    def prefill(self, count: int) -> None:
        """Hold a chat of so many tokens."""
        self._mode(embeds=False)
        self._context.clear()
        for start in range(0, count, PASS_TOKENS):
            self._context.decode(chat_batch(start, min(PASS_TOKENS, count - start)))

    def embed(self, tokens: int) -> None:
        """Run one embedding pass beside the chat's cells."""
        self._mode(embeds=True)
        self._context.decode(embed_batch(tokens, first_sequence=1))
        for sequence in range(1, TEXTS + 1):
            self._context.remove(sequence, 0)


def chat_batch(start: int, count: int) -> Batch:
    """`count` tokens of sequence 0, logits for the last."""
    return Batch(
        tokens=np.arange(100, 100 + count, dtype=np.int32),
        positions=np.arange(start, start + count, dtype=np.int32),
        sequences=np.zeros(count, np.int32),
        outputs=np.arange(count) == count - 1,
    )


def embed_batch(tokens: int, *, first_sequence: int) -> Batch:
    """A pass of texts of equal length."""
    each = tokens // TEXTS
    return Batch(
        tokens=np.arange(100, 100 + each * TEXTS, dtype=np.int32),
        positions=np.tile(np.arange(each, dtype=np.int32), TEXTS),
        sequences=np.repeat(np.arange(TEXTS, dtype=np.int32), each) + first_sequence,
        outputs=np.ones(each * TEXTS, np.bool_),
    )


def child(options: argparse.Namespace, histories: list[int]) -> None:
    """Measure one way and print JSON."""
    with Weights(options.model) as weights:
        embeds = options.way != "chat"
        way: Way = (
            Flip(weights, options.context)
            if options.way == "flip"
            else Two(weights, options.context, embeds=embeds)
        )
        # llama.cpp fills the key-value cache with zeros, so all of it is resident at once
        way.prefill(PASS_TOKENS)
        if embeds:
            way.embed(PASS_TOKENS)
        result = {"way": options.way, "memory_mib": resident_mib(), "histories": []}
        if embeds and options.rounds:
            result["histories"] = [
                measure(way, held, options.embed_tokens, options.rounds) for held in histories
            ]
        print(json.dumps(result))


def measure(way: Way, history: int, embed_tokens: int, rounds: int) -> dict[str, float]:
    """Times with a chat of `history` tokens held."""
    way.prefill(history)
    after_token, after_pass, passes = [], [], []
    for _ in range(rounds):
        way.token(history)
        after_token.append(timed(lambda: way.token(history)))
        passes.append(timed(lambda: way.embed(embed_tokens)))
        after_pass.append(timed(lambda: way.token(history)))
    return {
        "history": history,
        "token_ms": 1e3 * statistics.median(after_token),
        "switch_ms": 1e3 * (statistics.median(after_pass) - statistics.median(after_token)),
        "embed_tokens_s": embed_tokens / statistics.median(passes),
    }


def timed(run: Any) -> float:
    """Seconds a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def resident_mib() -> float:
    """Resident memory of this process (VmRSS), in MiB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS in /proc/self/status")


def main() -> None:
    """Run each way in a child and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--history", default="0,1024,3072")
    parser.add_argument("--rounds", type=int, default=7, help="0 measures memory only")
    parser.add_argument("--embed-tokens", type=int, default=PASS_TOKENS, help="of a timed pass")
    parser.add_argument("--way", choices=("chat", "two", "flip"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    histories = [int(number) for number in options.history.split(",")]
    if options.way:
        child(options, histories)
        return
    results = [
        json.loads(subprocess.check_output([sys.executable, *sys.argv, "--way", way]))
        for way in ("chat", "two", "flip")
    ]
    chat_alone = results[0]["memory_mib"]
    print("| way | resident MiB | more than chat alone |\n|---|---|---|")
    for result in results:
        more = 100 * (result["memory_mib"] / chat_alone - 1)
        print(f"| {result['way']} | {result['memory_mib']:.0f} | {more:.1f}% |")
    if not options.rounds:
        return
    print("\n| way | chat tokens held | a token, ms | switch, ms | embedding tokens/s |")
    print("|---|---|---|---|---|")
    for result in results[1:]:
        for row in result["histories"]:
            print(
                f"| {result['way']} | {row['history']} | {row['token_ms']:.1f} "
                f"| {row['switch_ms']:.2f} | {row['embed_tokens_s']:.0f} |"
            )


if __name__ == "__main__":
    main()

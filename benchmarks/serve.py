"""Many clients of running servers for a while: what they get, how fast, and what it costs.

    gritlite serve default --parallel 8 --together 8 --store notes.grit &
    python benchmarks/serve.py gritlite=http://127.0.0.1:8080/v1 --pid gritlite=PID \
        --store gritlite=notes --clients 8 --seconds 600

Of each four clients two chat, one asks a store, and one embeds two texts at a time; each has a
question of its own. Answers are streamed and greedy, and are compared with what the client got
alone, byte for byte; vectors by their cosine. A client that is told to come back waits for as
long as it is told, and its time to the first token goes on meanwhile.

Several servers of OpenAI's interface get the same clients, turn about (`--slice`), and idle while
it is not their turn. A server without a store is sent, in the message, the passages that the
first server answers from. One that cannot embed may be told another address for that.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from serve_clients import Client, Server, works_of
from serve_figures import Figures, Memory, table


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add = parser.add_argument
    add("servers", nargs="+", metavar="NAME=URL", help="URL of OpenAI's interface")
    add("--embeddings", action="append", default=[], metavar="NAME=URL", help="if elsewhere")
    add("--store", action="append", default=[], metavar="NAME=STORE", help="to ask")
    add("--pid", action="append", default=[], metavar="NAME=PID[,PID]", help="for its memory")
    add("--slice", action="append", default=[], metavar="NAME=SECONDS", help="of one turn")
    add("--clients", type=int, default=8)
    add("--seconds", type=float, default=60, help="of the first server, in all")
    add("--pause", type=float, default=0, help="mean seconds between a client's requests")
    add("--chat-only", action="store_true")
    add("--key", default="none")
    add("--model", default="default")
    return parser.parse_args()


def _named(values: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE options by their names."""
    return dict(value.split("=", 1) for value in values)


@dataclass(frozen=True)
class _Turns:
    """A server, its clients, and how long they ask in one turn."""

    figures: Figures
    clients: Sequence[Client]
    seconds: float

    def run(self, most_seconds: float) -> None:
        """Let all clients ask for one turn."""
        start = time.perf_counter()
        end = start + min(self.seconds, most_seconds)
        with self.figures.memory.watched(), ThreadPoolExecutor(len(self.clients)) as pool:
            for running in [pool.submit(client.run, end) for client in self.clients]:
                running.result()
        self.figures.seconds += time.perf_counter() - start


def _all_turns(given: argparse.Namespace) -> list[_Turns]:
    """The servers that the command line names; their clients know the answers."""
    embeddings, stores = _named(given.embeddings), _named(given.store)
    pids, slices = _named(given.pid), _named(given.slice)
    servers = [
        Server(name, url, embeddings.get(name, url), stores.get(name), given.model, given.key)
        for name, url in _named(given.servers).items()
    ]
    works = works_of(servers[0], given.clients, chat_only=given.chat_only)
    turns = []
    for server in servers:
        numbers = [int(pid) for pid in pids.get(server.name, "").split(",") if pid]
        figures = Figures(server.name, Memory(numbers))
        clients = [Client(server, work, given.pause, figures) for work in works]
        for client in clients:
            client.learn()
        turns.append(_Turns(figures, clients, float(slices.get(server.name, given.seconds))))
    return turns


def main() -> None:
    """Print a table with a row for each server, and a line after each turn meanwhile."""
    given = _options()
    turns = _all_turns(given)
    first = turns[0].figures
    while first.seconds < given.seconds:
        left = given.seconds - first.seconds
        for one in turns:
            one.run(left if one is turns[0] else one.seconds)
            load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
            print(time.strftime("%H:%M:%S"), *one.figures.cells(), "load", load, file=sys.stderr)
    print(table(one.figures for one in turns))
    for one in turns:
        for message in (*one.figures.failures[:5], *one.figures.differing[:5]):
            print(f"{one.figures.name}: {message}")


if __name__ == "__main__":
    main()

"""One server for the tests of all clients, and the same model in this process."""

import asyncio
from pathlib import Path

import pytest

from gritlite import GritLM
from tests.clients.running_server import Server, gritlite_serve

TOO_LONG = "bread " * 3000  # of a context of 1,024 tokens
TOO_LONG_TO_EMBED = "over the limit of 1024"  # what the error says
TOO_LONG_TO_ANSWER = "maximum context length is 1024"
TEXTS = ["Snow fell on the harbour all night.", "The baker sells bread.", "x"]


@pytest.fixture(scope="session")
def server(tiny_path: Path):
    with gritlite_serve(tiny_path) as started:
        yield started


@pytest.fixture(scope="session")
def model(tiny_path: Path):
    """What the server's answers are compared with."""
    with GritLM(tiny_path, threads=1, engine="llama") as loaded:
        yield loaded


@pytest.fixture
def keyless(server: Server, monkeypatch: pytest.MonkeyPatch):
    """A server whose key clients take from their own environment variable."""
    monkeypatch.setenv("OPENAI_API_KEY", server.key)
    monkeypatch.setenv("OPENAI_BASE_URL", server.openai)
    return server


@pytest.fixture(scope="module")
def litellm_connections():
    """Give litellm an event loop, and close it and the connections that litellm leaves open.

    A later test would be blamed for them.
    """
    import litellm

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    clients = litellm.in_memory_llm_clients_cache
    for client in clients.cache_dict.values():
        closed = client.close()
        if closed is not None:
            closed.close()  # a coroutine: an asynchronous client that never connected
    clients.flush_cache()
    asyncio.set_event_loop(None)
    loop.close()


@pytest.hookimpl
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Other people's packages warn of each other; gritlite's own warnings stay errors."""
    for item in items:
        if "tests/clients/server" in str(item.path):
            item.add_marker(pytest.mark.filterwarnings("ignore:.*ReadOnly:UserWarning"))

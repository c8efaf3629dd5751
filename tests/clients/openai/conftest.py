"""A server that all tests with the official client share."""

import openai
import pytest

from gritlite import GritLM
from tests.runtime.test_tools import TEMPLATE, load
from tests.serve.running import serving


@pytest.fixture(scope="module")
def server(tiny_path):
    with GritLM(tiny_path, threads=1) as model, serving(model) as client:
        yield client


@pytest.fixture
def client(server):
    """The official client."""
    with openai.OpenAI(base_url=f"http://{server.host}:{server.port}/v1", api_key="none") as client:
        yield client


@pytest.fixture(scope="module")
def tool_client(tmp_path_factory):
    """The official client of a server whose model's template has tools."""
    folder = tmp_path_factory.mktemp("tools")
    with (
        load(folder, TEMPLATE) as model,
        serving(model) as server,
        openai.OpenAI(base_url=f"http://{server.host}:{server.port}/v1", api_key="none") as client,
    ):
        yield client

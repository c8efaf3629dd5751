"""Before the model is ready, and when it cannot be loaded."""

import threading

import pytest

from gritlite import FileError
from tests.serve.running import Kept, serving


def test_until_the_model_is_ready(served_model):
    go_on = threading.Event()

    def load():
        assert go_on.wait(30)
        return Kept(served_model)

    with serving(load, wait=False) as client:
        health = client.get("/health")
        assert health.status == 503
        assert health.json["status"] == "loading"
        for path in ("/v1/models", "/v1/models/tiny"):
            answered = client.get(path)
            assert answered.status == 503
            assert int(answered.headers["retry-after"]) >= 1
            assert answered.error["code"] == "model_loading"
        assert client.chat("x").status == 503
        go_on.set()
        client.until("ready", 1)
        assert client.get("/health").json == {"status": "ready", "version": health.json["version"]}
    assert not served_model.is_closed


def test_a_model_that_cannot_be_loaded_ends_the_server():
    def load():
        raise FileError("no such model")

    with pytest.raises(FileError, match="no such model"), serving(load):
        pass

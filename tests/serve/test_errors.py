"""Every error is the error object of the interface asked."""

import json

import pytest

from gritlite import errors
from gritlite.serve.errors import as_api_error, error_body, error_response

NULLS = {"max_tokens": None, "stop": None, "seed": None, "n": None, "tools": None, "user": None}


def test_the_error_object_of_openai(client):
    answered = client.post("/v1/embeddings", {"input": "text", "model": "gpt-4"})
    assert answered.status == 404
    assert answered.headers["content-type"] == "application/json"
    assert set(answered.error) == {"message", "type", "param", "code"}
    assert answered.error["code"] == "model_not_found"
    assert answered.error["param"] == "model"
    assert "tiny:query" in answered.error["message"]


def test_ollamas_paths_have_ollamas_errors(client):
    answered = client.post("/api/nothing", {})
    assert answered.status == 404
    assert isinstance(answered.error, str)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x"}], "temperature": 9}, "temperature"),
        ({"messages": [{"role": "user", "content": "x"}], "max_tokens": 0}, "max_tokens"),
        ({"messages": [{"role": "user", "content": "x"}], "top_k": 2**40}, "top_k"),
        ({"messages": [{"role": "user", "content": "x"}], "repeat_penalty": 0}, "repeat_penalty"),
        ({"messages": [{"role": "user", "content": "x"}], "stop": ["a", ""]}, "stop"),
        ({"messages": [{"role": "user", "content": "word " * 3000}]}, "messages"),
        (
            {
                "messages": [{"role": "user", "content": "x"}],
                "response_format": {"type": "json_schema", "json_schema": {"schema": {"not": {}}}},
            },
            "response_format",
        ),
        (
            {"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "xml"}},
            "response_format.type",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0].type",
        ),
    ],
)
def test_a_wrong_field_is_named(client, body, param):
    answered = client.post("/v1/chat/completions", body)
    assert answered.status == 400
    assert answered.error["param"] == param
    assert answered.error["type"] == "invalid_request_error"


def test_a_store_that_is_not_there(client):
    for path, body in (("/v1/search", {"query": "x"}), ("/v1/ask", {"question": "x"})):
        for store in ({}, {"store": "notes"}):
            answered = client.post(path, {**body, **store})
            assert answered.status == 404
            assert answered.error["param"] == "store"
            assert "started without --store" in answered.error["message"]


HUGE = "1" + "0" * 400
DEEP = '{"a":' * 9999 + "1" + "}" * 9999
OF_MANY_DIGITS = "a number of 401 digits"


@pytest.mark.parametrize(
    ("path", "fields", "message"),
    [
        ("/v1/chat/completions", f'"temperature": {HUGE}', "temperature: the number is too large"),
        ("/v1/chat/completions", '"max_tokens": 1e400', "max_tokens: the number is too large"),
        ("/v1/chat/completions", '"seed": -1e400', "seed: the number is too large"),
        ("/v1/chat/completions", '"temperature": 1e400', "temperature: the number is too large"),
        ("/v1/chat/completions", '"repeat_penalty": 1e400', "repeat_penalty is inf: expected"),
        ("/v1/chat/completions", f'"top_k": {HUGE}', "top_k is a number of about 401 digits"),
        ("/v1/chat/completions", f'"n": {HUGE}', OF_MANY_DIGITS),
        ("/v1/chat/completions", f'"seed": {HUGE * 20}', "a number of thousands of digits"),
        ("/v1/chat/completions", f'"metadata": {"[" * 9999}{"]" * 9999}', "nested too deeply"),
        ("/v1/chat/completions", f'"x": {DEEP}', "nested too deeply"),
        ("/v1/embeddings", f'"dimensions": {HUGE}', f"dimensions is {OF_MANY_DIGITS}"),
        ("/detokenize", f'"tokens": [{HUGE}]', f"{OF_MANY_DIGITS} is not a token id"),
        ("/api/chat", f'"options": {{"top_k": {HUGE}}}', "top_k is a number of about 401 digits"),
    ],
    ids=range(13),
)
def test_numbers_and_bodies_that_are_too_large(client, path, fields, message):
    body = f'{{"messages": [{{"role": "user", "content": "x"}}], "input": "x", {fields}}}'
    answered = client.post(path, body.encode())
    assert answered.status == 400
    told = answered.error if path.startswith("/api/") else answered.error["message"]
    assert message in told
    assert len(told) < 200


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"', b"\xff\xfe", b"", b"[" * 100_000])
def test_a_body_that_is_no_json_object(client, body):
    answered = client.post("/v1/embeddings", body)
    assert answered.status == 400
    assert answered.error["code"] in ("invalid_body", "missing_required_parameter")


def test_null_and_unknown_fields_are_ignored(client):
    answered = client.chat("x", **{**NULLS, "max_tokens": 2}, whatever={"a": [1]})
    assert answered.status == 200
    answered = client.post("/v1/embeddings", {"input": "x", "dimensions": None, "user": None})
    assert answered.status == 200


def test_half_a_surrogate_pair_breaks_nothing(client):
    body = b'{"input": "x", "model": "\\ud800"}'
    answered = client.post("/v1/embeddings", body)
    assert answered.status == 404
    body = b'{"input": ["a", "\\ud800"]}'
    assert client.post("/v1/embeddings", body).status in (200, 400)


def test_too_many_tokens_are_counted(client, served_model):
    answered = client.chat("word " * 3000)
    assert answered.status == 400
    assert answered.error["code"] == "context_length_exceeded"
    assert str(served_model.context_length) in answered.error["message"]
    streamed = client.chat("word " * 3000, stream=True)
    assert streamed.status == 400
    assert streamed.error["code"] == "context_length_exceeded"


def test_every_error_class_has_a_status():
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    for kind in classes:
        if issubclass(kind, errors.GritLiteError):
            error = kind.__new__(kind)
            Exception.__init__(error, "what is wrong")
            assert 400 <= as_api_error(error).status_code < 600


def test_no_path_and_no_traceback_in_an_answer():
    error = errors.FileError("/home/me/secret.gguf: no such file")
    assert b"secret" not in error_response(error, "/v1/models").body
    error = ValueError("/home/me/secret")
    assert b"secret" not in error_response(error, "/v1/models").body
    error = errors.UsageError("/home/me/m.gguf only embeds")
    shown = error_response(error, "/v1/models", lambda text: text.replace("/home/me/m.gguf", "m"))
    assert json.loads(shown.body)["error"]["message"] == "m only embeds"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/embeddings", "POST"),
        ("OPTIONS", "/v1/embeddings", "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("POST", "/v1/models/tiny", "GET, HEAD"),
        ("PUT", "/", "GET, HEAD"),
        ("POST", "/openapi.json", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(client, method, path, allowed):
    answered = client.request(method, path)
    assert answered.status == 405
    assert answered.headers["allow"] == allowed
    assert answered.error["code"] == "method_not_allowed"
    assert answered.error["message"] == f"this address takes {allowed} only"


def test_a_wrong_method_on_other_vendors_addresses(client):
    assert client.get("/api/chat").json == {"error": "this address takes POST only"}
    assert client.get("/v2/embed").json == {"message": "this address takes POST only"}
    answered = client.request("HEAD", "/api/delete")
    assert (answered.status, answered.headers["allow"]) == (405, "DELETE")


def test_an_unknown_address(client):
    assert client.get("/v1/none").error["code"] == "not_found"


def test_forms_of_other_vendors_by_path():
    assert error_body(as_api_error(errors.UsageError("no")), "/api/chat") == {"error": "no"}

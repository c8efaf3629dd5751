"""`frequency_penalty`, `presence_penalty` and `logit_bias`: those of the library, or refused."""

import pytest

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
MESSAGES = [{"role": "user", "content": "hello"}]
PENALTIES = {"frequency_penalty": 1.5, "presence_penalty": 1.25}


def test_chats(client, served_model):
    options = {**PENALTIES, "logit_bias": {42: 3.5, 7: -100}}
    plain = client.chat("hello", max_tokens=30).json["choices"][0]["message"]["content"]
    sent = {**options, "logit_bias": {"42": 3.5, "7": -100}, "max_tokens": 30}
    answered = client.chat("hello", **sent).json["choices"][0]["message"]["content"]
    assert answered == served_model.chat(MESSAGES, temperature=0, max_tokens=30, **options)
    assert answered != plain
    for name, value in sent.items():
        if name != "max_tokens":
            alone = client.chat("hello", max_tokens=30, **{name: value}).json
            assert alone["choices"][0]["message"]["content"] != plain, name


def test_completions(client, served_model):
    fields = {"prompt": "Once", "temperature": 0, "max_tokens": 30}
    sent = {**fields, **PENALTIES, "logit_bias": {"42": 100}}
    answered = client.post(COMPLETIONS, sent).json["choices"][0]["text"]
    options = {**PENALTIES, "logit_bias": {42: 100}}
    assert answered == served_model.generate("Once", temperature=0, max_tokens=30, **options)
    piece = served_model.engine.vocabulary.piece(42).decode()
    assert answered == piece * 30


def test_ollama(client, served_model):
    options = {**PENALTIES, "temperature": 0, "num_predict": 30}
    body = {"messages": MESSAGES, "options": options, "stream": False}
    answered = client.post("/api/chat", body).json["message"]["content"]
    assert answered == served_model.chat(MESSAGES, temperature=0, max_tokens=30, **PENALTIES)
    assert answered != served_model.chat(MESSAGES, temperature=0, max_tokens=30)
    body["options"] = {"presence_penalty": 3}
    assert "presence_penalty is 3.0: expected -2.0 to 2.0" in client.post("/api/chat", body).error


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"frequency_penalty": 2.5}, "frequency_penalty"),
        ({"presence_penalty": -3}, "presence_penalty"),
        ({"logit_bias": {"50256": -100}}, "token 50256: this model's ids are 0 to"),
        ({"logit_bias": {"-1": 5}}, "token -1"),
        ({"logit_bias": {"the": 5}}, "the key 'the': expected a token's id"),
        ({"logit_bias": {"1" * 5000: 5}}, "expected a token's id"),
        ({"logit_bias": {"5": 101}}, "token 5 is 101: expected a number from -100 to 100"),
        ({"logit_bias": {"5": None}}, "token 5 is None"),
        ({"logit_bias": {"5": True}}, "token 5 is True"),
        ({"logit_bias": [5]}, "logit_bias"),
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_refused(client, fields, message, stream):
    for answered in (
        client.chat("x", stream=stream, **fields),
        client.post(COMPLETIONS, {"prompt": "x", "stream": stream, **fields}),
    ):
        assert answered.status == 400
        assert message in answered.error["message"]
        assert answered.error["param"] == next(iter(fields))


def test_null_is_the_default(client):
    plain = client.chat("x", max_tokens=8).json["choices"]
    nothing = {"frequency_penalty": None, "presence_penalty": None, "logit_bias": None}
    assert client.chat("x", max_tokens=8, **nothing).json["choices"] == plain
    assert client.chat("x", max_tokens=8, logit_bias={}).json["choices"] == plain

"""Ollama's interface with a tiny random model."""

import json

import pytest

from gritlite.serve.stores.cited_answer import NO_PASSAGE
from tests.rag.documents import notes
from tests.runtime.test_tools import QUESTION, TEMPLATE, WEATHER, load
from tests.serve.running import serving
from tests.serve.test_tools import HERMES, Writes

GREEDY = {"temperature": 0, "num_predict": 12}
HELLO = [{"role": "user", "content": "Tell me of the inn."}]
ANSWERS = [("/api/chat", {"messages": HELLO}), ("/api/generate", {"prompt": "Tell me of the inn."})]


def lines(answered):
    assert answered.status == 200, answered.body
    assert answered.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answered.body.decode().splitlines()]


def text_of(part):
    return part["response"] if "response" in part else part["message"]["content"]


def post(client, path, **fields):
    return client.post(path, {"model": "tiny", "options": GREEDY, **fields})


@pytest.mark.parametrize(("path", "asked"), ANSWERS)
def test_an_answer_is_that_of_the_library(client, served_model, path, asked):
    expected = served_model.chat(HELLO, temperature=0, max_tokens=12)
    whole = post(client, path, stream=False, **asked).json
    assert text_of(whole) == expected
    assert (whole["done"], whole["done_reason"], whole["model"]) == (True, "length", "tiny")
    assert whole["prompt_eval_count"] == len(served_model.chat_tokens(HELLO))
    assert whole["eval_count"] == 12
    *parts, last = lines(post(client, path, **asked))
    assert len(parts) > 1
    assert "".join(map(text_of, parts)) == expected
    assert {part["done"] for part in parts} == {False}
    assert (text_of(last), last["done"], last["done_reason"]) == ("", True, "length")
    assert last["eval_count"] == 12


@pytest.mark.parametrize(("path", "asked"), ANSWERS)
@pytest.mark.parametrize("stream", [True, False])
def test_durations_are_parts_of_the_whole(client, path, asked, stream):
    last = json.loads(post(client, path, stream=stream, **asked).body.splitlines()[-1])
    names = ("load_duration", "prompt_eval_duration", "eval_duration")
    parts = [last[name] for name in names]
    assert all(isinstance(part, int) and part > 0 for part in parts)
    assert sum(parts) <= last["total_duration"] < 60e9


def test_a_raw_prompt_is_continued(client, served_model):
    whole = post(client, "/api/generate", prompt="Once upon", raw=True, stream=False).json
    expected = served_model.generate("Once upon", temperature=0, max_tokens=12)
    assert whole["response"] == expected
    assert whole["prompt_eval_count"] == len(served_model.prompt_tokens("Once upon"))


def test_a_system_message(client, served_model):
    messages = [{"role": "system", "content": "Be brief."}, *HELLO]
    fields = {"prompt": HELLO[0]["content"], "system": "Be brief.", "stream": False}
    found = post(client, "/api/generate", **fields).json["response"]
    assert found == served_model.chat(messages, temperature=0, max_tokens=12)
    assert found == text_of(post(client, "/api/chat", messages=messages, stream=False).json)


@pytest.mark.parametrize("options", [{"num_predict": -1}, {"num_predict": 0}, {}])
def test_without_a_limit_the_context_is_the_limit(client, served_model, options):
    fields = {"prompt": "word " * 150, "raw": True, "stream": False}
    whole = post(client, "/api/generate", options={"temperature": 0, **options}, **fields).json
    used = whole["prompt_eval_count"] + whole["eval_count"]
    assert used == served_model.context_length or whole["done_reason"] == "stop"


def test_a_seed_repeats_an_answer(client):
    def answered(seed):
        options = {"temperature": 1.5, "num_predict": 12, "seed": seed}
        return text_of(
            post(client, "/api/chat", messages=HELLO, options=options, stream=False).json
        )

    assert answered(7) == answered(7)
    assert answered(-1) != answered(-1)


def test_a_top_k_below_0_is_all_tokens(client):
    def answered(top_k):
        options = {"temperature": 1.5, "num_predict": 12, "seed": 7, "top_k": top_k}
        return text_of(
            post(client, "/api/chat", messages=HELLO, options=options, stream=False).json
        )

    assert answered(-1) == answered(0) != answered(40)


def test_a_stop(client):
    text = text_of(post(client, "/api/chat", messages=HELLO, stream=False).json)
    for stop in (text[3:5], [text[3:5]]):
        options = {**GREEDY, "stop": stop}
        whole = post(client, "/api/chat", messages=HELLO, options=options, stream=False).json
        assert text_of(whole) == text[: text.index(text[3:5])]
        assert whole["done_reason"] == "stop"


def test_formats(client):
    schema = {"enum": ["yes", "no"]}
    for path, asked in ANSWERS:
        whole = post(client, path, format=schema, stream=False, **asked).json
        assert json.loads(text_of(whole)) in ("yes", "no")
    limit = {"temperature": 0, "num_predict": 40}
    fields = {"format": "json", "options": limit, "stream": False}
    assert text_of(post(client, "/api/chat", messages=HELLO, **fields).json).startswith("{")


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/api/chat", {"messages": []}),
        ("/api/chat", {"messages": None, "keep_alive": "5m"}),
        ("/api/generate", {"prompt": ""}),
        ("/api/generate", {"keep_alive": 0, "stream": False}),
    ],
)
def test_without_a_prompt_the_model_is_loaded(client, path, asked):
    found = post(client, path, **asked).json
    assert (found["done"], found["done_reason"], text_of(found)) == (True, "load", "")


@pytest.mark.parametrize(
    ("path", "asked", "words"),
    [
        ("/api/chat", {"messages": [{**HELLO[0], "images": ["aGk="]}]}, "only text"),
        ("/api/chat", {"messages": [{"role": "king", "content": "x"}]}, "role"),
        ("/api/chat", {"messages": HELLO, "format": "xml"}, "JSON schema"),
        ("/api/chat", {"messages": HELLO, "think": True}, "does not support thinking"),
        ("/api/chat", {"messages": HELLO, "tools": [WEATHER]}, "no tools"),
        ("/api/chat", {"messages": HELLO, "options": {"top_p": 3}}, "top_p"),
        ("/api/chat", {"messages": [{"role": "user", "content": "word " * 3000}]}, "1024 tokens"),
        ("/api/generate", {"prompt": "word " * 3000, "raw": True}, "1024 tokens"),
        ("/api/generate", {"prompt": "x", "images": ["aGk="]}, "only text"),
        ("/api/generate", {"prompt": "x", "suffix": "y"}, "insert"),
        ("/api/generate", {"prompt": "x", "template": "{{ .Prompt }}"}, "template"),
        ("/api/generate", {"prompt": "x", "context": [1, 2]}, "/api/chat"),
        ("/api/generate", {"prompt": "x", "raw": True, "system": "y"}, "system"),
        ("/api/generate", {"prompt": 5}, "prompt"),
        ("/api/embed", {"input": [1, 2]}, "token ids"),
        ("/api/embed", {"input": ["x", ""]}, "empty"),
        ("/api/embed", {"input": "x", "dimensions": 5}, "dimensions"),
        ("/api/embed", {"input": "word " * 3000, "truncate": False}, "limit"),
        ("/api/embeddings", {"prompt": "word " * 3000}, "limit"),
    ],
)
def test_what_is_refused(client, path, asked, words):
    answered = post(client, path, **asked)
    assert answered.status == 400
    assert set(answered.json) == {"error"}
    assert words in answered.error


@pytest.mark.parametrize("path", ["chat", "generate", "embed", "embeddings", "show"])
def test_an_unknown_model_is_told_in_ollamas_words(client, path):
    answered = post(client, f"/api/{path}", model="llama3.2", prompt="x", input="x", messages=HELLO)
    assert answered.status == 404
    problem = "model 'llama3.2' not found: expected one of tiny, tiny:query"
    assert answered.json == {"error": problem}


@pytest.mark.parametrize("model", ["tiny", "tiny:latest", None])
def test_names_with_a_tag_and_without(client, model):
    found = post(client, "/api/chat", model=model, messages=HELLO, stream=False).json
    assert found["model"] == (model or "tiny")


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("POST", "pull"),
        ("POST", "push"),
        ("POST", "create"),
        ("POST", "copy"),
        ("DELETE", "delete"),
    ],
)
def test_models_cannot_be_changed(client, method, name):
    answered = client.request(method, f"/api/{name}", {"model": "tiny"})
    assert answered.status == 400
    assert "chosen when it starts" in answered.error


def test_the_model_is_listed_by_its_names(client, served_model):
    models = client.get("/api/tags").json["models"]
    assert [each["model"] for each in models] == ["tiny:latest", "tiny:query"]
    assert models[0]["size"] == served_model.path.stat().st_size
    assert len(models[0]["digest"]) == 64
    (loaded,) = client.get("/api/ps").json["models"]
    assert loaded["digest"] == models[0]["digest"]
    assert loaded["context_length"] == served_model.context_length
    assert client.get("/api/version").json["version"].count(".") == 2


@pytest.mark.parametrize("path", ["/", "/api/tags", "/api/version", "/v1/models"])
def test_clients_may_ask_whether_it_runs_by_head(client, path):
    answered, whole = client.request("HEAD", path), client.get(path)
    assert (answered.status, answered.body) == (200, b"")
    for name in ("content-type", "content-length"):
        assert answered.headers[name] == whole.headers[name]
    assert client.request("HEAD", "/api/chat").status == 405


@pytest.mark.parametrize("field", ["model", "name"])
def test_what_the_file_tells(client, served_model, field):
    shown = client.post("/api/show", {field: "tiny"}).json
    assert shown["capabilities"] == ["completion", "embedding"]
    assert shown["template"] == served_model.file.metadata["tokenizer.chat_template"]
    architecture = served_model.file.metadata["general.architecture"]
    assert shown["details"]["family"] == architecture
    information = shown["model_info"]
    assert information["general.architecture"] == architecture
    width = information[f"{architecture}.embedding_length"]
    assert width == served_model.dimension
    elements = sum(tensor.elements for tensor in served_model.file.tensors)
    assert information["general.parameter_count"] == elements
    assert information["tokenizer.ggml.tokens"] is None


def test_calls_of_tools(tmp_path):
    asked = {"messages": [QUESTION], "tools": [WEATHER]}
    with load(tmp_path, TEMPLATE) as model, serving(Writes(model, HERMES)) as client:
        whole = post(client, "/api/chat", stream=False, **asked).json
        parts = lines(post(client, "/api/chat", **asked))
        shown = client.post("/api/show", {"model": "tiny"}).json
        history = [QUESTION, whole["message"], {"role": "tool", "content": "9", "tool_name": "x"}]
        again = post(client, "/api/chat", messages=history, tools=[WEATHER], stream=False)
    assert again.status == 200
    assert "tools" in shown["capabilities"]
    assert whole["message"]["content"] == "I look."
    (call,) = whole["message"]["tool_calls"]
    assert call["function"] == {"name": "weather", "arguments": {"city": "Rome"}}
    assert "".join(map(text_of, parts)) == "I look."
    (streamed,) = [each for part in parts for each in part["message"].get("tool_calls", ())]
    assert streamed["function"] == call["function"]


def test_answers_from_a_store(tmp_path, served_model):
    from gritlite.rag import Store

    with Store.open(tmp_path / "notes.grit", served_model) as store:
        store.add(notes(tmp_path / "notes"))
    with serving(served_model, stores={"notes": tmp_path / "notes.grit"}) as client:
        names = [each["model"] for each in client.get("/api/tags").json["models"]]
        *_, last = lines(post(client, "/api/chat", model="tiny+notes", messages=HELLO))
        raw = post(client, "/api/generate", model="tiny+notes", prompt="x", raw=True)
        prompt = HELLO[0]["content"]
        whole = post(client, "/api/generate", model="tiny+notes", prompt=prompt, stream=False).json
    assert "tiny+notes:latest" in names
    assert last["citations"] == whole["citations"]
    shown = [each["reference"] for each in whole["citations"]] or [NO_PASSAGE]
    assert all(each in whole["response"] for each in shown)
    assert raw.status == 400


def test_an_error_in_a_stream_is_its_last_line(served_model):
    class Fails(Writes):
        def chat(self, messages, **options):
            answer = super().chat(messages, **options)
            return _Failing(answer)

    with serving(Fails(served_model, "Some words")) as client:
        *parts, last = lines(post(client, "/api/chat", messages=HELLO))
    assert "".join(map(text_of, parts)) == "Some "
    assert set(last) == {"error"}


class _Failing:
    """Ends by an error after its first piece."""

    def __init__(self, answer):
        self._answer = answer

    def __getattr__(self, name):
        return getattr(self._answer, name)

    def __iter__(self):
        return self

    def __next__(self):
        if self._answer.text:
            raise ValueError("secret")
        return next(self._answer)

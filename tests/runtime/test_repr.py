"""What things say of themselves, and what misspelt options are told."""

import pytest

from gritlite import AsyncGritLM, GritLM, UsageError


def test_a_model(tiny_path):
    with GritLM(tiny_path, threads=1) as model:
        count = sum(tensor.elements for tensor in model.file.tensors)
        whole = f"llama, {count:,} parameters, F32, embeds with llama, context of 1,024"
        assert repr(model) == f"<GritLM model.gguf: {whole}>"
        assert repr(AsyncGritLM(model)) == f"<AsyncGritLM of {model!r}>"
    assert repr(model) == "<GritLM model.gguf: closed>"


def test_an_answer(tiny_model):
    answer = tiny_model.generate(
        "Once", stream=True, temperature=0, max_tokens=80, grammar='root ::= "a"{70}'
    )
    assert repr(answer) == "<Answer: 0 tokens, not ended, ''>"
    list(answer)
    tokens, text = len(answer.generated), "a" * 60 + "…"
    assert repr(answer) == f"<Answer: {tokens} tokens, stop, {text!r}>"


def test_states(tiny_model):
    state = tiny_model.document_state("a text")
    size = f"{state.key_values.nbytes:,} bytes"
    assert repr(state) == (
        f"<DocumentState: {state.tokens} tokens of an embedding pass, bidirectional, {size}>"
    )
    prefix = tiny_model.prefix_state("a text")
    assert "tokens of the beginning of a message, causal" in repr(prefix)
    joined = tiny_model.join_states([state, state], recompute=4)
    assert repr(joined) == (
        f"<JoinedState: {joined.tokens} tokens of 2 states, 4 of each evaluated again>"
    )


@pytest.mark.parametrize("name", ["max_lenght", "instructions", "progres", "cancle"])
def test_a_misspelt_parameter_of_encode(tiny_model, name):
    for encode in (tiny_model.encode, tiny_model.encode_queries, tiny_model.encode_corpus):
        with pytest.raises(UsageError, match=f"no parameter '{name}': expected one of add_special"):
            encode(["a"], **{name: None})


@pytest.mark.parametrize("name", ["show_progress_bar", "prompt_type", "convert_to_numpy"])
def test_what_evaluations_pass_to_every_model_is_ignored(tiny_model, name):
    with pytest.warns(UserWarning, match=f"encode\\(\\) has no parameter {name}: ignored"):
        assert tiny_model.encode(["a"], **{name: True}).shape == (1, tiny_model.dimension)


@pytest.mark.parametrize("ask", ["chat", "generate"])
def test_a_misspelt_option_of_an_answer(tiny_model, ask):
    prompt = [{"role": "user", "content": "a"}] if ask == "chat" else "a"
    with pytest.raises(UsageError, match=r"no option 'temprature': expected one of .*temperature"):
        getattr(tiny_model, ask)(prompt, temprature=1)

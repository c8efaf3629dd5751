"""The environment of clients that ask for openai 2 lies over the one with openai 3."""

from importlib.metadata import version


def test_openai_2_comes_before_openai_3():
    import openai
    from llama_index.llms.openai_like import OpenAILike

    assert version("openai") == openai.__version__
    assert openai.__version__.startswith("2.")
    assert OpenAILike.class_name() == "OpenAILike"


def test_the_rest_is_taken_from_the_clients_environment():
    import langchain_core

    assert ".venv-clients" in langchain_core.__file__

import pytest

from gritlite.cli.commands.chat_settings import NAMES, Settings
from gritlite.errors import UsageError
from gritlite.runtime.options import generate_options


@pytest.fixture
def options():
    return {"max_tokens": 100}


@pytest.fixture
def settings(options):
    return Settings(options, {})


def test_all_options_are_shown_with_their_values(settings):
    assert dict(settings.rows()) == {
        "temperature": "0.7 (default)",
        "top_k": "40 (default)",
        "top_p": "0.95 (default)",
        "min_p": "0.05 (default)",
        "repeat_penalty": "1 (default)",
        "frequency_penalty": "0 (default)",
        "presence_penalty": "0 (default)",
        "seed": "random (default)",
        "max_tokens": "100",
        "stop": "none (default)",
    }
    assert dict(Settings({}, {"temperature": 0}).rows())["temperature"] == "0 (default)"
    assert dict(Settings({}, {}).rows())["max_tokens"] == "as many as the context holds (default)"


def test_the_sampling_options_of_the_runtime_can_be_set():
    sampling = set(vars(generate_options().sampling)) - {"grammar", "logit_bias"}
    assert set(NAMES) == {*sampling, "max_tokens", "stop"}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("temperature", "0.2", 0.2),
        ("top-k", "5", 5),
        ("seed", "7", 7),
        ("max_tokens", "12", 12),
        ("stop", '"a b" c', ("a b", "c")),
    ],
)
def test_setting_and_resetting(settings, options, name, text, value):
    settings.set(name, text)
    key = name.replace("-", "_")
    assert options[key] == value
    assert "default" not in dict(settings.rows())[key]
    settings.set(name, "default")
    assert key not in options


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("heat", "1", "there is no option heat: expected one of temperature, top_k"),
        ("temperature", "warm", "'warm' is no value of temperature"),
        ("temperature", "-1", "temperature is -1.0: expected 0.0 to 100.0"),
        ("temperature", "nan", "temperature is nan"),
        ("top_k", "1.5", "'1.5' is no value of top_k"),
        ("max_tokens", "0", "max_tokens is 0"),
        ("stop", '"half', "is no value of stop"),
        ("stop", '""', "a stop string is empty"),
    ],
)
def test_what_cannot_be_set_changes_nothing(settings, options, name, text, said):
    with pytest.raises(UsageError, match=said):
        settings.set(name, text)
    assert options == {"max_tokens": 100}


def test_greedy():
    assert not Settings({}, {}).is_greedy
    assert Settings({"temperature": 0.0}, {}).is_greedy
    assert Settings({}, {"temperature": 0}).is_greedy
    assert not Settings({"temperature": 0.1}, {"temperature": 0}).is_greedy

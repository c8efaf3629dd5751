"""Silence llama.cpp's log while it quantizes for comparison."""

import llama_cpp
import pytest


@llama_cpp.llama_log_callback
def _ignore(level: int, text: bytes, user_data: object) -> None:
    """At module level, because llama.cpp keeps calling it."""


@pytest.fixture(autouse=True, scope="session")
def _silent_llama_cpp() -> None:
    llama_cpp.llama_log_set(_ignore, None)

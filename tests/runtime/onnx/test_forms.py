"""Which forms there are."""

import pytest

from gritlite.errors import UsageError
from gritlite.runtime.onnx.forms import FORMS, Form


def test_names_are_distinct():
    assert len({form.name for form in FORMS}) == len(FORMS) == 7
    assert Form("onnx", "int8").name == "onnx-int8"


def test_only_int8_is_not_exact():
    assert [form.numbers for form in FORMS if not form.is_exact] == ["int8"]


def test_only_float16_is_for_a_gpu():
    assert [form.name for form in FORMS if form.on_gpu] == ["onnx-float16"]


@pytest.mark.parametrize(("runtime", "numbers"), [("onnx", "bfloat16"), ("openvino", "int8")])
def test_a_form_that_does_not_exist(runtime, numbers):
    with pytest.raises(UsageError, match=f"no graph of the form {runtime}-{numbers}: .*onnx-int8"):
        Form(runtime, numbers)


def test_an_unknown_runtime():
    with pytest.raises(UsageError, match="no graph of the form torch-int8"):
        Form("torch", "int8")

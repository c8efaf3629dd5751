"""Names and revisions that cannot be pulled."""

import pytest

from gritlite.errors import UsageError
from gritlite.pull.models import pull


def test_a_name_that_is_nothing(cache_folder):
    with pytest.raises(UsageError, match="nothing is not a model that can be pulled"):
        pull("nothing")


def test_a_model_of_the_catalog_has_no_revision(cache_folder):
    with pytest.raises(UsageError, match="the model default has only one revision"):
        pull("default", revision="main")

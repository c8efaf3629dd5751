"""The names that gritlite.convert offers."""

import gritlite.convert


def test_all_names_what_is_there() -> None:
    assert gritlite.convert.__all__ == [
        "ConversionProgress",
        "ConversionReport",
        "add_grit_metadata",
        "convert",
        "write_adapter",
    ]
    assert all(hasattr(gritlite.convert, name) for name in gritlite.convert.__all__)

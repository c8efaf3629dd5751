"""Which packages an extra of gritlite asks for; a frozen app keeps their metadata."""

from importlib.metadata import requires

from packaging.requirements import Requirement


def packages(extra: str) -> list[str]:
    """The names of the packages that an extra of gritlite asks for."""
    found = map(Requirement, requires("gritlite") or [])
    return [each.name for each in found if each.marker and each.marker.evaluate({"extra": extra})]

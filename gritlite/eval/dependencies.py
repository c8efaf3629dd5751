"""Check for the optional packages of the evaluation."""

from gritlite.errors import MissingExtraError


def require_sklearn(purpose: str) -> None:
    """Raise MissingExtraError unless scikit-learn is installed: before hours of embedding."""
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "eval", purpose) from error

"""The version of gritlite, for the package, its files and its reports."""

__version__ = "0.1.0"

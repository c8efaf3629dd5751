"""Runs first in a frozen app: a child process of gritlite does its work here, and ends."""

from gritlite.system.processes import freeze_support

freeze_support()
del freeze_support

"""Fuzzers: one module for each kind of input that gritlite takes from strangers.

Each has a function `case`, which makes one input from a random generator and tries it.
docs/reliability.md has the figures of long runs; the tests run a few inputs of each.
"""

"""Measuring a model on local test sets, always so that it can be compared with another."""

"""Evaluate models on local test sets, with results that can be compared between models."""

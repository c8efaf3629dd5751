"""Searches in stores, and answers from their passages."""

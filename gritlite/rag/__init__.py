"""Retrieval: documents read and cut into chunks, a store of them on disk, and search in it.

`Store` is what other rooms and people use. Needs the extra `rag`.
"""

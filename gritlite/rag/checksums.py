"""Checksums of a store's rows (XXH3, 64 bits): SQLite checks its structure, not its contents.

They find what an accident changed, a flipped bit or an edit by hand. They are no signature:
whoever wants to can write the right checksum for a wrong row.
"""

from collections.abc import Sequence


def row_checksum(values: Sequence[object]) -> bytes:
    """The checksum of a row's values and of their types, 8 bytes."""
    from xxhash import xxh3_64_digest

    # `repr` would depend on Python's version of Unicode
    return xxh3_64_digest(ascii(tuple(values)).encode())


def blob_checksum(data: bytes, row: int) -> bytes:
    """The checksum of bytes that belong to the row with this id, 8 bytes."""
    from xxhash import xxh3_64_digest

    return xxh3_64_digest(data, seed=row % 2**64)

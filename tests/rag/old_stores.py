"""Stores as earlier versions of gritlite wrote them."""

import contextlib
import sqlite3
from pathlib import Path

FORMAT_2 = """
drop table root;
drop table source_checksum;
drop table chunk_checksum;
alter table source drop column reader;
alter table source drop column encoding;
delete from setting where name in ('checksum', 'main_text');
pragma user_version = 2;
pragma wal_checkpoint(truncate);
"""


def to_format_2(path: Path) -> None:
    """Turn a store into one of format 2."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(FORMAT_2)

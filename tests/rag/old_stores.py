"""Stores as earlier versions of gritlite wrote them.

`format_3.grit.gz` was written at commit 0333b48, the last of format 3: `Store.add` of
`documents.notes` beside it, with the model of the fixture `tiny_path`, then `vacuum`.
"""

import contextlib
import gzip
import json
import sqlite3
import struct
from pathlib import Path

import xxhash

from gritlite import GritLM
from gritlite.rag.checksums import row_checksum

_HEAD = struct.Struct("<6sHI")  # of a state's file

FORMAT_2 = """
drop table metadata;
alter table source drop column title;
drop table root;
drop table source_checksum;
drop table chunk_checksum;
alter table source drop column reader;
alter table source drop column encoding;
delete from setting where name in ('checksum', 'main_text');
pragma user_version = 2;
pragma wal_checkpoint(truncate);
"""


def write_format_3(path: Path, model: GritLM) -> None:
    """Write a store of format 3, and let it know its model: rounding differs by processor."""
    path.write_bytes(gzip.decompress(Path(__file__).with_name("format_3.grit.gz").read_bytes()))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        settings = dict(connection.execute("select * from setting"))
        settings["fingerprint"] = model.fingerprint
        values = [
            *("model", "fingerprint", "vectors", "chunk_tokens", "states", "states_budget"),
            *("main_text", "sampled_fingerprint"),
        ]
        types = {"chunk_tokens": int, "states_budget": int, "main_text": "True".__eq__}
        pairs = [(name, types.get(name, str)(settings[name])) for name in values]
        settings["checksum"] = row_checksum(pairs).hex()
        connection.executemany("insert or replace into setting values (?, ?)", settings.items())


def to_format_2(path: Path) -> None:
    """Turn a store into one of format 2."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(FORMAT_2)


def know_model_by_sample(path: Path, sampled: str) -> None:
    """Let a store of format 2, and its states, name their model as gritlite 0.1 did."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("update setting set value = ? where name = 'fingerprint'", [sampled])
        for file in Path(f"{path}.states").rglob("*.kv"):
            data = file.read_bytes()
            magic, version, length = _HEAD.unpack_from(data)
            start = _HEAD.size + length
            head = json.dumps(json.loads(data[_HEAD.size : start]) | {"model": sampled}).encode()
            made = _HEAD.pack(magic, version, len(head)) + head + data[start:-16]
            file.write_bytes(made + xxhash.xxh3_128_digest(made))
            chunk, kind = file.name.split(".")[:2]
            connection.execute(
                "update state set bytes = ? where chunk = ? and kind = ?",
                (file.stat().st_size, chunk, kind),
            )
        connection.execute("pragma wal_checkpoint(truncate)")

"""Add GRIT metadata to a GGUF file.

The other keys, the tensor descriptions and the tensor data are copied byte for byte,
in blocks.
"""

import shutil
import struct
from pathlib import Path

from gritlite.errors import FileError
from gritlite.modelfile.header import MAGIC, GGUFFile, read_header
from gritlite.modelfile.header_writer import copy_metadata, encode_metadata
from gritlite.prompt import EmbedFormat
from gritlite.system.files import atomic_write, check_output

COPY_BYTES = 1 << 22


def add_grit_metadata(source: Path, output: Path, *, force: bool = False) -> None:
    """Copy the GGUF file `source` to `output` with the `grit.*` keys of GritLM's prompt format.

    `grit.*` keys in the source are replaced; all other keys and the tensors stay the
    same bytes. An existing `output` is replaced only with `force`.

    Raises FileError if a file cannot be read or written, OutputExistsError, and
    FormatError if the source is not a valid GGUF file.
    """
    check_output(output, force=force)
    header = read_header(source)
    try:
        with open(source, "rb") as old:
            old_header = old.read(header.data_offset)
            with atomic_write(output, force=force) as new:
                new.write(_with_grit_keys(header, old_header))
                if header.tensors:
                    new.write(bytes(-new.tell() % header.alignment))
                old.seek(header.data_offset)
                shutil.copyfileobj(old, new, COPY_BYTES)
    except OSError as error:
        raise FileError(f"cannot copy {source} to {output}: {error.strerror}") from error


def _with_grit_keys(header: GGUFFile, old: bytes) -> bytes:
    added = EmbedFormat().to_metadata()
    keys = copy_metadata(header, old, without=added) + encode_metadata(added)
    counts = struct.pack("<IQQ", header.version, len(header.tensors), keys.count)
    tensors = old[header.tensors_offset : header.tensors_end]
    return b"".join([MAGIC, counts, keys.data, tensors])

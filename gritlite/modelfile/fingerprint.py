"""Fingerprints that tell whether two files hold the same model, without reading them whole.

The fingerprint is a hash of the header and of a few kilobytes from the middle of
every tensor, which differ for another quantization, vocabulary or training. It
does not notice single weights changed by hand.
"""

import hashlib

from gritlite.errors import FileError
from gritlite.modelfile.header import GGUFFile

_SAMPLE_BYTES = 4096


def fingerprint(file: GGUFFile) -> str:
    """Return the hexadecimal SHA-256 of the header and of samples of the tensors.

    Raises FileError if the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(file.path, "rb", buffering=0) as data:
            digest.update(data.read(file.data_offset))
            for tensor in file.tensors:
                length = min(_SAMPLE_BYTES, tensor.size)
                data.seek(tensor.offset + (tensor.size - length) // 2)
                digest.update(data.read(length))
    except OSError as error:
        raise FileError(f"cannot read {file.path}: {error}") from None
    return digest.hexdigest()

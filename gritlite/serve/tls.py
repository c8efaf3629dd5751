"""The certificate for https, checked before the model is loaded."""

import ssl
from pathlib import Path

from gritlite.errors import FileError


def check_certificate(certificate: Path, key: Path) -> None:
    """Raise FileError unless the files are a certificate and its key, without a password."""
    for path in (certificate, key):
        if not path.is_file():
            raise FileError(f"{path} does not exist: give a certificate and its key in PEM form")
    try:
        # an empty password, or a terminal would be asked for one
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, lambda: "")
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise FileError(
            f"{certificate} and {key} are not a certificate and its key in PEM form, without a "
            "password: make them again, or take the password off"
        ) from error

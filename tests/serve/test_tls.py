"""https, with a self-signed certificate for localhost that is good for a hundred years."""

import http.client
import re
import ssl
import stat
import subprocess
from pathlib import Path

import pytest

from gritlite import FileError
from gritlite.serve.tls import check_certificate
from tests.serve.running import serving

CERTIFICATE = Path(__file__).parent / "certificate" / "localhost.pem"
KEY = CERTIFICATE.with_suffix(".key")


def test_a_client_that_checks_the_certificate(served_model):
    trusted = ssl.create_default_context(cafile=str(CERTIFICATE))
    with serving(served_model, tls_cert=CERTIFICATE, tls_key=KEY) as client:
        connection = http.client.HTTPSConnection("localhost", client.port, context=trusted)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        connection.close()
        with pytest.raises((http.client.HTTPException, OSError)):
            client.get("/health")  # without TLS


def test_the_certificate_that_the_docs_make(served_model, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^openssl .*\\\n.*$", page, re.MULTILINE)
    subprocess.run(["bash", "-c", line], cwd=tmp_path, check=True, capture_output=True)
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    trusted = ssl.create_default_context(cafile=str(certificate))
    trusted.verify_flags |= ssl.VERIFY_X509_STRICT  # the default of Python 3.13
    with serving(served_model, tls_cert=certificate, tls_key=key) as client:
        for name in ("localhost", "127.0.0.1"):
            connection = http.client.HTTPSConnection(name, client.port, context=trusted)
            connection.request("GET", "/health")
            assert connection.getresponse().status == 200
            connection.close()


def test_files_that_are_no_certificate_and_its_key(tmp_path):
    check_certificate(CERTIFICATE, KEY)
    other = tmp_path / "other.pem"
    with pytest.raises(FileError, match="does not exist"):
        check_certificate(CERTIFICATE, other)
    other.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    for certificate, key in ((CERTIFICATE, other), (other, KEY), (KEY, CERTIFICATE)):
        with pytest.raises(FileError, match="are not a certificate and its key"):
            check_certificate(certificate, key)

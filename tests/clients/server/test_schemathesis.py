"""Thousands of requests that the OpenAPI document allows, or just not: no failure, no hang."""

import subprocess
import sysconfig
from pathlib import Path

from tests.clients.running_server import Server

# not those that ask for a 400 wherever the document is stricter than the server, which reads 1 as
# true, or cannot say what it refuses, such as an empty list of messages
CHECKS = ",".join(
    (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "ignored_auth",
    )
)


def test_requests_made_from_the_document(server: Server, tmp_path: Path):
    """Bounded in number, and the same in each run."""
    program = Path(sysconfig.get_path("scripts")) / "schemathesis"
    done = subprocess.run(
        [
            *(program, "run", f"{server.url}/openapi.json"),
            *("--header", f"Authorization: Bearer {server.key}"),
            *("--checks", CHECKS),
            *("--max-examples", "100", "--seed", "1", "--generation-deterministic"),
            *("--phases", "examples,coverage,fuzzing", "--request-timeout", "30"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,  # it keeps a cache there
    )
    assert done.returncode == 0, done.stdout[-4000:]

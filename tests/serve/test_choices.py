"""Several answers to one request, when something ends them early."""

import logging

import pytest

from tests.serve.running import serving
from tests.serve.test_leaving import CHAT, body, slow  # noqa: F401 - a fixture


@pytest.mark.parametrize("stream", [False, True])
def test_leaving_ends_all_answers(slow, stream):  # noqa: F811
    with serving(slow, parallel=2) as client:
        with client.leaving(CHAT, body(n=3, stream=stream)):
            client.until("answers_running", 2)
            client.until("answers_waiting", 1)
        client.until("answers_running", 0)
        client.until("answers_waiting", 0)
    assert len(slow.answers) == 2
    assert all(answer.closed.wait(10) for answer in slow.answers)


@pytest.mark.parametrize("stream", [False, True])
def test_no_room_for_all_of_them(slow, stream):  # noqa: F811
    with serving(slow, parallel=1, queue=0) as client:
        answered = client.post(CHAT, body(n=2, stream=stream))
        assert answered.status == 429
        client.until("answers_running", 0)


def test_all_fail_at_once(slow, caplog):  # noqa: F811
    """Errors of the others are taken note of: asyncio would log them as lost."""
    with serving(slow, parallel=3) as client, caplog.at_level(logging.ERROR, "asyncio"):
        with client.leaving(CHAT, body(n=3, stream=True)) as connection:
            received = b""
            while received.count(b'"role"') < 3:
                received += connection.recv(4096)
            for answer in slow.answers:
                answer.cancel()
            while b'"error"' not in received:
                received += connection.recv(4096)
        client.until("answers_running", 0)
    assert [record for record in caplog.records if record.name == "asyncio"] == []

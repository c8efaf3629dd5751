"""Many clients at once: nobody fails, and nobody gets what is another's.

`benchmarks/serve.py` does the same for as long as one likes.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tests.serve.running import serving

TRIES = 10  # the official client makes 3; a busy machine that runs tests may need more


def persistent(ask):
    """Ask, and come back when told to, as the official client does; return all answers."""
    answers = []
    for _ in range(TRIES):
        answers.append(ask())
        if answers[-1].status not in (429, 503):
            break
        time.sleep(float(answers[-1].headers["retry-after"]))
    return answers


def test_a_burst(served_model):
    with serving(served_model, parallel=2, queue=40) as client:
        for _ in range(30):  # so that it knows how long an answer takes
            client.chat("x", max_tokens=1)
        start = threading.Barrier(200)

        def ask(number):
            start.wait()
            return persistent(lambda: client.chat(f"number {number}", max_tokens=2))

        with ThreadPoolExecutor(200) as pool:
            all_answers = list(pool.map(ask, range(200)))
        statuses = [[answer.status for answer in answers] for answers in all_answers]
        assert [each[-1] for each in statuses] == [200] * 200
        assert any(each[0] == 429 for each in statuses)
        client.until("answers_running", 0)
        assert client.gauge("answers_waiting") == 0


def test_eight_mixed_clients_get_what_a_single_one_gets(served_model):
    questions = [f"word {number} is {'abcdefgh'[number] * 3}" for number in range(8)]
    texts = [[f"{question}, text {i}" for i in range(3)] for question in questions]
    with serving(served_model, parallel=4) as client:
        alone = [client.chat(question, max_tokens=24).json for question in questions]
        vectors = [served_model.encode(few) for few in texts]

        def work(number):
            for turn in range(6):
                if turn % 3 == 2:
                    given = client.post("/v1/embeddings", {"input": texts[number]}).json
                    found = np.array([each["embedding"] for each in given["data"]], np.float32)
                    assert np.all(np.sum(found * vectors[number], axis=1) > 0.99999)
                    continue
                answered = client.chat(questions[number], max_tokens=24, stream=turn % 2 == 1)
                assert answered.status == 200
                assert text_of(answered) == alone[number]["choices"][0]["message"]["content"]
            return True

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(8)))


def text_of(answered):
    if answered.headers["content-type"] == "application/json":
        return answered.json["choices"][0]["message"]["content"]
    chunks = [event for event in answered.events if event != "[DONE]"]
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)


def test_clients_that_come_and_go_leave_nothing_behind(served_model):
    with serving(served_model, parallel=2, queue=200) as client:
        body = {"messages": [{"role": "user", "content": "x " * 50}], "stream": True}

        def come_and_go(number):
            path = "/v1/chat/completions" if number % 2 else "/v1/embeddings"
            sent = body if number % 2 else {"input": ["word " * 100] * 20}
            with client.leaving(path, sent):
                time.sleep(0.002 * (number % 20))

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(come_and_go, range(100)))
        for name in ("answers_running", "answers_waiting", "embeddings_pending"):
            client.until(name, 0)
        assert client.chat("still there", max_tokens=2).status == 200

"""Closing a model that is at work."""

import threading

from gritlite import ClosedError


def close_meanwhile(model, work, begun):
    """Close a model once an event says that `work(model)` has begun: it ends with ClosedError."""
    errors = []

    def run():
        try:
            work(model)
        except ClosedError as error:
            errors.append(error)

    running = threading.Thread(target=run)
    running.start()
    assert begun.wait(60)
    model.close()
    running.join(60)
    assert len(errors) == 1

"""The command `gritlite`, also as `python -m gritlite`.

Importing the command line takes some tenths of a second, in which Ctrl-C would end in a
traceback. So Ctrl-C is handled here before anything else is imported.
"""

import os

_INTERRUPTED = 130


def _leave(*_: object) -> None:
    """End the process: nothing has been begun that would need cleaning up."""
    try:
        os.write(2, b"\ngritlite: interrupted\n")
    finally:  # standard error may be closed
        os._exit(_INTERRUPTED)


try:
    import signal
except KeyboardInterrupt:
    _leave()


def main() -> None:
    """Run the command line and exit."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else the parent ignores it
        signal.signal(signal.SIGINT, _leave)
    from gritlite.cli.main import main as run

    run()


if __name__ == "__main__":
    main()

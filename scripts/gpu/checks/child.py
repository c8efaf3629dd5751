"""One part in a process of its own: `python -m checks.child PART RESULTS FOLDER SIZE`.

SIZE is a key of SIZES, or "auto": that of the device. Ends with 1 when the part raises, and
when its standard input ends, with its parent.
"""

import os
import sys
import time
import traceback
from pathlib import Path

from checks.parts import PARTS, Task
from checks.results import FAILED, MEASURED, Device, Results
from checks.sizes import SIZES
from gritlite.system.watchers import when_input_ends


def main() -> None:
    """Run the part that the command line names."""
    when_input_ends(lambda: os._exit(1))
    name, path, folder, size = sys.argv[1:]
    (part,) = [part for part in PARTS if part.name == name]
    results = Results(Path(path), name, device())
    started = time.monotonic()
    try:
        chosen = SIZES[results.device if size == "auto" else size]
        part.run(Task(results, chosen, Path(folder)))
    except Exception as error:
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"
        results.end(FAILED, time.monotonic() - started, reason)
        sys.exit(1)
    results.end(MEASURED, time.monotonic() - started)


def device() -> Device:
    """What this build of llama.cpp runs on here."""
    from gritlite.runtime.llama import capabilities

    return "gpu" if capabilities().gpu else "cpu"


if __name__ == "__main__":
    main()

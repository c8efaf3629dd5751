"""One file's download by huggingface_hub, in a thread, so that it can be watched and ended."""

import contextlib
import threading
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gritlite.errors import CancelledError
from gritlite.pull.download_folder import bytes_in
from gritlite.pull.hub_answer import RemoteFile
from gritlite.system.watch import Watch

_INTERVAL = 0.05  # seconds between two looks


@dataclass(frozen=True)
class Download:
    """A file of a repository at a commit. `watch` may end it; `shows_bar` has the bars drawn."""

    repository: str
    commit: str
    file: RemoteFile
    watch: Watch
    shows_bar: bool

    def run(self, folder: Path) -> Path:
        """Bring the file into a folder, and return its path.

        Raises what huggingface_hub raises, and what the watch does; the thread then ends with
        the next bytes that come.
        """
        stop, done = threading.Event(), Future[Path]()
        threading.Thread(target=self._work, args=(folder, stop, done), daemon=True).start()
        try:
            while wait([done], _INTERVAL).not_done:
                self.watch.report(bytes_in(folder), self.file.size)
        except BaseException:
            stop.set()
            _end_xet()
            raise
        return done.result()

    def _work(self, folder: Path, stop: threading.Event, done: "Future[Path]") -> None:
        try:
            import huggingface_hub

            path = huggingface_hub.hf_hub_download(
                self.repository,
                self.file.name,
                revision=self.commit,
                local_dir=folder,
                tqdm_class=_bar(stop, shown=self.shows_bar),
            )
            done.set_result(Path(path))
        except BaseException as error:
            done.set_exception(error)


def _bar(stop: threading.Event, *, shown: bool) -> Any:
    """Return the class of a bar that ends its download once `stop` is set."""
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options if shown else {**options, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            if stop.is_set():
                raise CancelledError("the download was cancelled")
            return super().update(n)  # type: ignore[no-any-return]

    return Bar


def _end_xet() -> None:
    """End downloads over Xet, whose code asks no bar; as huggingface_hub does on Ctrl-C."""
    with contextlib.suppress(Exception):  # the function is private, and hf_xet may be absent
        from huggingface_hub.utils._xet import abort_xet_session

        abort_xet_session()

"""Fetch a GGUF file or a checkpoint from a Hugging Face repository.

huggingface_hub does the talking: it resumes a download that breaks off, and
brings the user's login, endpoint and proxy. Every file is checked against the
digest that the hub states before it gets its place. The module does not know
what is in the files.
"""

import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gritlite.errors import DownloadError, MissingExtraError
from gritlite.pull.download_folder import download_folder
from gritlite.pull.hub_answer import RemoteFile, read_answer
from gritlite.pull.hub_download import Download
from gritlite.system import cache
from gritlite.system.files import DISK_FULL, sha256
from gritlite.system.offline import check_online
from gritlite.system.repository_files import choose
from gritlite.system.watch import Watch

_PIECE = 1 << 20
_OF_A_FILE = (errno.EFBIG, *DISK_FULL)


def fetch(
    name: str,
    *,
    revision: str | None = None,
    force: bool = False,
    watch: Watch | None = None,
    shows_bar: bool = False,
) -> tuple[Path, bool]:
    """Bring `org/name` or `org/name:file.gguf` into the cache and assign the name.

    Returns the path, of a GGUF file or of a checkpoint's folder, and whether
    anything had to be downloaded. What is there already is verified and kept
    unless `force`. `watch` is told how many bytes have come; with `shows_bar` huggingface_hub
    draws bars. Raises what `watch` raises, MissingExtraError without huggingface_hub, FileError
    when the repository does not hold what was asked for, and DownloadError when
    the fetch fails, is forbidden (`system.offline`) or a digest is wrong.
    """
    watch = watch or Watch("fetching the model")
    check_online(f"fetching {name}")
    repository, _, wanted = name.partition(":")
    remote = read_answer(repository, _ask(repository, revision))
    chosen = choose(repository, list(remote.files), wanted)
    home = cache.folder("hub", repository.replace("/", "--"), remote.commit)
    files = [remote.files[file] for file in chosen]
    total, done, fetched = sum(file.size for file in files) or 1, 0, []
    for file in files:
        watch.report(done, total)
        part = watch.part(done / total, (done + file.size) / total)
        download = Download(repository, remote.commit, file, part, shows_bar)
        fetched.append(_fetch_file(download, home, force))
        done += file.size
    path = home / chosen[0] if chosen[0].endswith(".gguf") else home
    cache.register(name, path)
    return path, any(fetched)


def _ask(repository: str, revision: str | None) -> Any:
    """What the hub answers about a repository, as huggingface_hub reads it."""
    with _one_line(repository, revision):
        import huggingface_hub

        api = huggingface_hub.HfApi()
        try:
            return api.model_info(repository, revision=revision, files_metadata=True)
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise DownloadError(
                f"the hub's answer about {repository} is not one ({type(error).__name__}): "
                "check the endpoint (HF_ENDPOINT) and the proxy (HTTPS_PROXY), or try again later"
            ) from error


def _fetch_file(download: Download, home: Path, force: bool) -> bool:
    """Bring one file to its place under `home`; False if it was there, whole and right."""
    repository, file = download.repository, download.file
    target = home / file.name
    if not force and target.exists() and _is_right(target, file):
        return False
    with download_folder() as folder:
        with _one_line(repository, download.commit):
            path = download.run(folder)
        if not _is_right(path, file):
            raise DownloadError(
                f"{repository}: {file.name} was refused: its bytes do not have the digest "
                "that the hub states: run the command again, or tell the owner"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    return True


def _is_right(path: Path, file: RemoteFile) -> bool:
    """Compare with the sha256 of a large file, or with git's blob id of a small one."""
    if file.sha256 is not None:
        return sha256(path) == file.sha256
    with path.open("rb") as data:
        git_id = hashlib.sha1(b"blob %d\0" % path.stat().st_size)
        while piece := data.read(_PIECE):
            git_id.update(piece)
    return git_id.hexdigest() == file.blob_id


@contextmanager
def _one_line(repository: str, revision: str | None) -> Iterator[None]:
    """Turn the ways that a fetch can fail into errors that say what to do."""
    try:
        from huggingface_hub import errors
    except ImportError as error:
        raise MissingExtraError("huggingface_hub", "hub", f"fetching {repository}") from error
    try:
        yield
    except ImportError as error:  # what a SOCKS proxy needs
        raise DownloadError(
            f"cannot fetch {repository}: {error}; check the proxy (HTTPS_PROXY, ALL_PROXY)"
        ) from error
    except errors.GatedRepoError as error:
        raise DownloadError(
            f"{repository} is gated: accept its terms on its page, then run  hf auth login"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise DownloadError(f"{repository} has no revision {revision}") from error
    except errors.RepositoryNotFoundError as error:
        raise DownloadError(
            f"there is no repository {repository}, or it is private: check the name, "
            "or run  hf auth login"
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise DownloadError(
            f"cannot fetch {repository}: HF_HUB_OFFLINE is set; unset it and try again"
        ) from error
    except (errors.HTTPError, OSError) as error:
        if isinstance(error, OSError) and (error.errno in _OF_A_FILE or error.filename):
            raise  # not the connection's fault
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DownloadError(f"cannot fetch {repository}: {reason}: check the connection") from error

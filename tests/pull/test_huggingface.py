"""Pulling from a local server that speaks the hub's API, by the command in a process of its own."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time

import pytest

from gritlite.errors import DownloadError, FileError
from gritlite.pull.huggingface import choose, fetch
from gritlite.system.locate import locate
from tests.pull.folder_listing import files_in, wait_until_clean
from tests.pull.local_servers import COMMIT, Hub

GGUF = os.urandom(300_000)
REPOSITORY = "tiny/model"
HOME = f"hub/tiny--model/{COMMIT}"
CHECKPOINT = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "model-00001-of-00002.safetensors": os.urandom(50_000),
    "model-00002-of-00002.safetensors": os.urandom(60_000),
    "model.safetensors.index.json": b"{}",
    "chat_template.jinja": b"{{ messages }}",
    "consolidated.safetensors": os.urandom(1000),
    "README.md": b"# tiny",
}


@pytest.fixture
def hub(cache_folder, monkeypatch):
    with Hub(REPOSITORY, {"model.gguf": GGUF, "README.md": b"# tiny"}, {"model.gguf"}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def pull(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "gritlite", "pull", *arguments],
        **options,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_refused(done, *words):
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("gritlite: error: ")
    for word in words:
        assert word in done.stderr


def test_the_only_gguf_is_fetched_and_found_by_name(hub, cache_folder):
    done = pull(REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(cache_folder / HOME / "model.gguf")
    assert locate(REPOSITORY).read_bytes() == GGUF
    assert files_in(cache_folder) == [f"{HOME}/model.gguf", "names/tiny%2Fmodel"]


def test_a_second_pull_downloads_nothing(hub):
    pull(REPOSITORY)
    hub.requests.clear()
    done = pull(REPOSITORY)
    assert "is already in the cache and intact" in done.stderr
    assert hub.gets("model.gguf") == []


def test_damage_is_noticed_and_mended(hub):
    pull(REPOSITORY)
    path = locate(REPOSITORY)
    path.write_bytes(b"x" + GGUF[1:])
    assert pull(REPOSITORY).returncode == 0
    assert path.read_bytes() == GGUF


def test_a_download_that_breaks_off_is_resumed(hub):
    chunk = 10 << 20  # huggingface_hub writes in pieces of this size
    hub.files["model.gguf"] = os.urandom(1 << 20) * 24
    hub.faults.breaks["model.gguf"] = [chunk + 1000, chunk + 1000]
    done = pull(REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert locate(REPOSITORY).read_bytes() == hub.files["model.gguf"]
    assert hub.gets("model.gguf") == [None, f"bytes={chunk}-", f"bytes={2 * chunk}-"]


@pytest.mark.parametrize("name", ["model.gguf", "config.json"])
def test_wrong_bytes_are_refused_and_leave_nothing(hub, cache_folder, name):
    if name == "config.json":  # a small file has git's digest
        hub.files = CHECKPOINT
    hub.faults.wrong[name] = bytes(len(hub.files[name]))
    assert_refused(pull(REPOSITORY), name, "refused")
    assert not any(name in path for path in files_in(cache_folder))
    with pytest.raises(FileError, match=f"gritlite pull {REPOSITORY}"):
        locate(REPOSITORY)


def test_wrong_bytes_do_not_replace_the_right_ones(hub):
    pull(REPOSITORY)
    hub.faults.wrong["model.gguf"] = bytes(len(GGUF))
    assert_refused(pull(REPOSITORY, "--force"), "refused")
    assert locate(REPOSITORY).read_bytes() == GGUF


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_killed_pull_leaves_nothing(hub, cache_folder, number, status):
    hub.faults.breaks["model.gguf"] = [100_000]
    hub.faults.stall = threading.Event()
    child = subprocess.Popen([sys.executable, "-m", "gritlite", "pull", REPOSITORY])
    while not hub.gets("model.gguf"):
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(number)
    assert child.wait(30) == status
    if number == signal.SIGKILL:
        wait_until_clean(cache_folder)
    assert files_in(cache_folder) == []
    hub.faults.stall.set()
    assert pull(REPOSITORY).returncode == 0


def test_a_file_that_the_system_refuses_is_no_fault_of_the_connection(hub, cache_folder):
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = pull(REPOSITORY, preexec_fn=small_files)
    assert_refused(done, "File too large")
    assert done.returncode == 2
    assert files_in(cache_folder) == []


def test_a_checkpoint_comes_as_a_folder(hub, cache_folder):
    hub.files = CHECKPOINT
    hub.large = {name for name in CHECKPOINT if name.endswith(".safetensors")}
    assert pull(REPOSITORY, "--revision", "main").returncode == 0
    folder = locate(REPOSITORY)
    assert folder == cache_folder / HOME
    wanted = set(CHECKPOINT) - {"README.md", "consolidated.safetensors"}
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: CHECKPOINT[name] for name in wanted
    }


def test_a_checkpoint_that_lacks_a_file_keeps_those_that_came(hub, cache_folder):
    hub.files = CHECKPOINT
    hub.large = {name for name in CHECKPOINT if name.endswith(".safetensors")}
    last = "model-00002-of-00002.safetensors"
    hub.faults.wrong[last] = bytes(60_000)
    assert_refused(pull(REPOSITORY), last)
    hub.faults.wrong.clear()
    hub.requests.clear()
    assert pull(REPOSITORY).returncode == 0
    assert hub.gets("model-00001-of-00002.safetensors") == []
    assert len(hub.gets(last)) == 1


def test_several_ggufs_need_a_choice(hub, cache_folder):
    hub.files = {"a.gguf": GGUF[:1000], "b.gguf": GGUF[1000:3000]}
    assert_refused(pull(REPOSITORY), "a.gguf", "b.gguf", f"{REPOSITORY}:a.gguf")
    assert pull(f"{REPOSITORY}:b.gguf").returncode == 0
    assert locate(f"{REPOSITORY}:b.gguf").read_bytes() == GGUF[1000:3000]
    with pytest.raises(FileError):
        locate(REPOSITORY)


@pytest.mark.parametrize(
    ("code", "words"), [(401, "accept its terms"), (404, "there is no repository")]
)
def test_refusals_of_the_hub_take_one_line(hub, code, words):
    hub.refusals[REPOSITORY] = code
    assert_refused(pull(REPOSITORY), REPOSITORY, words)


def test_an_unknown_revision(hub):
    assert_refused(pull(REPOSITORY, "--revision", "v9"), "v9")


def test_offline(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert_refused(pull(REPOSITORY), "HF_HUB_OFFLINE")


def test_nobody_answers(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert_refused(pull(REPOSITORY), "check the connection")


def test_without_huggingface_hub(hub, tmp_path, monkeypatch):
    blocked = tmp_path / "blocked" / "huggingface_hub"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("raise ImportError('not installed')")
    monkeypatch.setenv("PYTHONPATH", str(blocked.parent))
    assert_refused(pull(REPOSITORY), 'pip install "gritlite[hub]"')


@pytest.mark.parametrize(
    ("files", "wanted", "words"),
    [
        (["a.gguf"], "b.gguf", "has no file b.gguf"),
        (["config.json"], "config.json", "not a GGUF"),
        (["README.md"], "", "neither a GGUF file nor a checkpoint"),
        (["model.safetensors"], "", "neither a GGUF file nor a checkpoint"),
    ],
)
def test_what_a_repository_does_not_hold(files, wanted, words):
    with pytest.raises(FileError, match=words):
        choose(REPOSITORY, files, wanted)


EVIL = "../../../../evil"
SIBLING = {"rfilename": "model.gguf", "blobId": "0" * 40}
LIES = [
    *({"sha": sha} for sha in (EVIL, "/evil", None, 7, [], "", "main", "0" * 39, "0" * 40 + "\n")),
    *(
        {"siblings": [{**SIBLING, "rfilename": name}]}
        for name in (
            *("../x.gguf", "/x.gguf", "a/../../x.gguf", "a\\x.gguf", "C:x.gguf", "", "."),
            *("x\0.gguf", "x\ud800.gguf", "x\n.gguf", "x" * 300 + ".gguf", None, 7, []),
        )
    ),
    *({"siblings": siblings} for siblings in ("model.gguf", {"a": 1}, 7, [7], ["x.gguf"], [[]])),
    {"siblings": [{"rfilename": "model.gguf"}]},  # without a digest
    {"siblings": [{**SIBLING, "blobId": "../x"}]},
    {"siblings": [{**SIBLING, "lfs": {"sha256": "x", "size": 1, "pointerSize": 1}}]},
    {"siblings": [{**SIBLING, "lfs": {"size": "big"}}]},
]


@pytest.fixture
def asked_here(hub, monkeypatch):
    """Ask the hub in this process, as its many answers are read in no time."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    return hub


@pytest.mark.parametrize("lies", LIES, ids=ascii)
def test_a_hub_is_not_trusted(asked_here, cache_folder, lies):
    asked_here.lies = lies
    with pytest.raises(DownloadError, match="the hub's answer about tiny/model"):
        fetch(REPOSITORY)
    assert files_in(cache_folder.parent) == []


@pytest.mark.parametrize(
    "nonsense",
    [
        b"",
        b"not JSON",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b"[" * 100_000,
        {},
        {"id": []},
    ],
    ids=lambda nonsense: ascii(nonsense)[:20],
)
def test_an_answer_that_is_none(asked_here, cache_folder, nonsense):
    asked_here.nonsense = nonsense
    with pytest.raises(DownloadError, match=r"the hub's answer about tiny/model|cannot fetch"):
        fetch(REPOSITORY)
    assert files_in(cache_folder.parent) == []


def test_a_hub_that_lies_is_one_line(hub, cache_folder):
    hub.lies = {"sha": EVIL}
    assert_refused(pull(REPOSITORY), "names a commit", EVIL)
    assert files_in(cache_folder.parent) == []


def test_a_socks_proxy_without_its_package(hub, monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    assert_refused(pull(REPOSITORY), "cannot fetch tiny/model", "SOCKS", "check the proxy")


@pytest.mark.parametrize("etag", [EVIL, "/evil", "a/../../../evil"])
def test_a_digest_in_a_header_leads_nowhere(hub, cache_folder, etag):
    """huggingface_hub names a file that it is downloading after the ETag."""
    hub.faults.etag = etag
    done = pull(REPOSITORY)
    assert len(done.stderr.splitlines()) <= 1 or done.returncode == 0, done.stderr
    outside = [name for name in files_in(cache_folder.parent) if "evil" in name]
    assert outside == []

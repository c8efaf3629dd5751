"""States on disk: exact or nearly so, small, and never used for another text or model."""

import dataclasses

import numpy as np
import pytest

from gritlite import FormatError, GritLM
from gritlite.rag import maintenance, state_codec
from gritlite.rag.state_codec import Expected, Identity, StateShape, decode, encode
from gritlite.rag.store import Store
from tests.rag.documents import notes

TEXT = "The inn was founded by Ada Brown in 1850. It stands on a hill. " * 6
STATE_TYPES = ("f16", "q8_0", "q4_0")


def identity(model, numbers="f16"):
    return Identity(model.fingerprint, "0", numbers, "bidirectional", False)


def expected(state, name):
    """What `decode` is to find: the tiny model has 2 layers with 2 key-value heads of 32."""
    return Expected(name, state.ids, state.head, StateShape((2, 2), 32, 32))


def values(state):
    arrays = (*state.key_values.keys, *state.key_values.values)
    return np.concatenate([array.ravel() for array in arrays]).astype(np.float32)


@pytest.mark.parametrize(
    ("numbers", "share", "error"), [("f16", 1.0, 0.0), ("q8_0", 0.54, 0.02), ("q4_0", 0.29, 0.25)]
)
def test_a_state_comes_back(tiny_model, numbers, share, error):
    state = tiny_model.document_state(TEXT)
    data = b"".join(encode(state, identity(tiny_model, numbers)))
    found = decode(data, expected(state, identity(tiny_model, numbers)))
    assert dataclasses.replace(found, key_values=None) == dataclasses.replace(
        state, key_values=None
    )
    assert np.abs(values(found) - values(state)).max() <= error * np.abs(values(state)).max()
    if numbers == "f16":
        assert found == state
    plain = state.key_values.nbytes
    assert len(data) <= share * plain + 1024  # the head, some bytes for each matrix


@pytest.mark.parametrize("numbers", STATE_TYPES)
def test_an_answer_goes_on_from_it(tiny_model, numbers):
    state = tiny_model.document_state(TEXT)
    data = b"".join(encode(state, identity(tiny_model, numbers)))
    found = decode(data, expected(state, identity(tiny_model, numbers)))
    answer = tiny_model.generate("Who?", document=found, temperature=0, max_tokens=5)
    if numbers == "f16":
        wanted = tiny_model.generate("Who?", document=state, temperature=0, max_tokens=5)
        assert answer == wanted


@pytest.fixture(scope="module")
def written(tiny_path):
    with GritLM(tiny_path, threads=1) as model:
        name = identity(model, "q8_0")
        state = model.document_state("Who founded it?")
        return b"".join(encode(state, name)), expected(state, name)


def test_every_flipped_bit_is_noticed(written):
    data, wanted = written
    rng = np.random.default_rng(0)
    places = {*range(64), *rng.integers(0, len(data), 200).tolist(), len(data) - 1}
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(rng.integers(8))
        with pytest.raises(FormatError):
            decode(bytes(damaged), wanted)


def test_every_cut_is_noticed(written):
    data, wanted = written
    for length in (*range(40), len(data) // 2, len(data) - 1):
        with pytest.raises(FormatError):
            decode(data[:length], wanted)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Identity)])
def test_another_identity_is_refused(written, field):
    data, wanted = written
    other = dataclasses.replace(wanted.identity, **{field: "another"})
    with pytest.raises(FormatError, match=f"made for other {field}"):
        decode(data, dataclasses.replace(wanted, identity=other))


def test_other_tokens_are_refused(written):
    data, wanted = written
    ids = wanted.ids
    for others in (ids[:-1], (*ids, 5), (*ids[:-1], ids[-1] + 1)):
        with pytest.raises(FormatError, match="made for other tokens"):
            decode(data, dataclasses.replace(wanted, ids=others))


def test_a_newer_form_is_refused(written, monkeypatch):
    data, wanted = written
    monkeypatch.setattr(state_codec, "_VERSION", state_codec._VERSION + 1)
    with pytest.raises(FormatError, match="another version"):
        decode(data, wanted)


@pytest.fixture
def folder(tmp_path):
    return notes(tmp_path / "notes")


@pytest.fixture
def store(tmp_path, tiny_model, folder):
    with Store.open(tmp_path / "a.grit", tiny_model, states="q8_0") as opened:
        opened.add(folder)
        yield opened


def chunks(store):
    """The id and the embedded text of every chunk."""
    return store._database.execute("select id, embedded from chunk order by id").fetchall()


def files(store):
    return sorted(store._states.files.folder.rglob("*.*"))


def test_states_are_kept_of_the_passes_that_embed(store, tiny_model):
    assert len(files(store)) == len(chunks(store)) == 4
    for chunk, embedded in chunks(store):
        state = store._states.load(chunk, "doc", embedded)
        fresh = tiny_model.document_state(embedded)
        assert state.tokens == fresh.tokens
        assert np.allclose(values(state), values(fresh), atol=0.1)
    usage = maintenance.info(store.path).states
    assert usage.states == 4
    assert usage.bytes == sum(path.stat().st_size for path in files(store))
    assert maintenance.verify(store.path) == []


def test_states_go_with_their_chunks(store, folder):
    (folder / "inn.md").unlink()
    (folder / "boats.txt").write_text("The ferry is blue now.")
    store.add(folder)
    assert len(files(store)) == maintenance.info(store.path).states.states == 2
    assert maintenance.verify(store.path) == []


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "damaged"),
        (lambda path: path.write_bytes(b""), "it has 0 bytes, not the 13,"),
        (lambda path: path.write_bytes(flipped(path.read_bytes())), "damaged"),
    ],
)
def test_a_harmed_state_is_told_and_not_used(store, harm, problem):
    harm(store._states.files._path(1, "doc"))
    (line,) = maintenance.verify(store.path)
    assert problem in line
    assert store._states.load(1, "doc", chunks(store)[0][1]) is None
    assert store._states.load(2, "doc", chunks(store)[1][1]) is not None


def flipped(data):
    return data[:500] + bytes([data[500] ^ 4]) + data[501:]


def test_the_state_of_another_text_is_not_used(store):
    (_, first), (_, second), *_ = chunks(store)
    files = store._states.files
    data = files._path(2, "doc").read_bytes()
    files._path(1, "doc").write_bytes(data)
    files.record(1, "doc", len(data))
    assert store._states.load(1, "doc", first) is None
    assert store._states.load(1, "doc", second) is not None


def test_the_state_of_another_build_is_not_used(store, monkeypatch):
    monkeypatch.setattr(store._states, "_library", "0.0.1")
    assert store._states.load(1, "doc", chunks(store)[0][1]) is None


def test_a_budget_is_kept(tmp_path, tiny_model, folder):
    with Store.open(tmp_path / "all.grit", tiny_model, states="f16") as store:
        store.add(folder)
        whole = maintenance.info(store.path).states.bytes
    with Store.open(
        tmp_path / "some.grit", tiny_model, states="f16", states_budget=whole // 2
    ) as store:
        store.scan(folder)
        assert 0 < store.plan().state_bytes <= whole // 2
        store.embed()
        usage = maintenance.info(store.path).states
        assert 0 < usage.bytes <= whole // 2
        assert len(files(store)) == usage.states < 4
        assert maintenance.verify(store.path) == []
        assert len(store.search("inn", 9)) == 4


def test_new_states_make_those_of_earlier_runs_go(tmp_path, tiny_model, folder):
    with Store.open(tmp_path / "all.grit", tiny_model, states="f16") as store:
        store.add(folder)
        whole = maintenance.info(store.path).states.bytes
    with Store.open(tmp_path / "a.grit", tiny_model, states="f16", states_budget=whole) as store:
        store.add(folder)
        (folder / "new.txt").write_text("The harbour master sleeps.")
        store.add(folder)
        assert store._states.load(5, "doc", chunks(store)[4][1]) is not None
        assert store._states.load(1, "doc", chunks(store)[0][1]) is None
        for path in (folder / "inn.md", folder / "boats.txt", folder / "more" / "cats.html"):
            path.write_text(path.read_text().replace("the", "some"))
        store.add(folder)
        usage = maintenance.info(store.path).states
        assert usage.bytes <= whole
        assert usage.states == len(files(store)) >= 3
        assert maintenance.verify(store.path) == []


def test_a_state_larger_than_the_budget_makes_none_go(store, tiny_model):
    before = files(store)
    state = tiny_model.prefix_state("a long walk " * 60)
    store._states.budget = maintenance.info(store.path).states.bytes
    store._states.store(1, "exact", state)
    assert files(store) == before
    assert not store._states.files.has(1, "exact")


def test_what_was_used_longest_ago_goes_first(store):
    first, second, *_ = chunks(store)
    store._states.load(first[0], "doc", first[1])
    usage = maintenance.info(store.path).states
    assert maintenance.prune(store.path, usage.bytes - 1) == 1
    assert store._states.load(second[0], "doc", second[1]) is None
    assert store._states.load(first[0], "doc", first[1]) is not None
    assert maintenance.prune(store.path, 0) == 3
    assert maintenance.info(store.path).states.states == len(files(store)) == 0


def test_orphaned_files_are_removed(store):
    folder = store._states.files.folder / "0"
    (folder / "99.doc.kv").write_bytes(b"of a chunk that was never entered")
    (folder / "1.doc.part").write_bytes(b"of a write that was killed")
    (folder / "1 (copy).doc.kv").write_bytes(b"somebody else's")
    assert maintenance.prune(store.path) == 2
    assert len(files(store)) == 5
    assert maintenance.verify(store.path) == []


def test_a_plan_tells_the_bytes(tmp_path, tiny_model, folder):
    for numbers in STATE_TYPES:
        with Store.open(tmp_path / f"{numbers}.grit", tiny_model, states=numbers) as store:
            store.scan(folder)
            planned = store.plan().state_bytes
            store.embed()
            kept = maintenance.info(store.path).states.bytes
            assert planned < kept < planned + 4 * 1024

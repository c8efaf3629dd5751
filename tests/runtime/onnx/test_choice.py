"""Which engine `auto` takes, in every case, and what is kept of it."""

import json
import threading

import pytest

from gritlite.errors import (
    ArchitectureError,
    CancelledError,
    FileError,
    LibraryError,
    MissingExtraError,
    OutOfMemoryError,
)
from gritlite.modelfile.header import read_header
from gritlite.runtime.model_identity import ModelIdentity
from gritlite.runtime.onnx import choice, packages, trials, verdict
from gritlite.runtime.onnx.choice import Choice, candidates, choose, known_choice
from gritlite.runtime.onnx.forms import Form
from gritlite.runtime.onnx.verdict import Setting
from gritlite.system import cache, processor
from gritlite.system.progress import no_progress
from tests.runtime.onnx.fake_bench import Clock, FakeBench, keep_fingerprint
from tests.sample_gguf import BPE, write_model

SETTING = Setting(2, "auto")
INT8, BLOCKS = Form("onnx", "int8"), Form("onnx", "float32")
OPENVINO = Form("openvino", "float32")
GOOD = {"angle": 0.001, "speed": 4000}
ROUGH = {"angle": 0.07, "speed": 5000}  # fast enough, and not exact
WRONG = {"angle": 0.3, "speed": 5000}
SLOW = {"speed": 900}


@pytest.fixture
def file(tmp_path):
    return read_header(write_model(tmp_path / "m.gguf", BPE))


@pytest.fixture(autouse=True)
def machine(cache_folder, monkeypatch):
    """An empty cache, both runtimes installed, a processor without bfloat16, enough memory."""
    versions = {"onnx": "1.20", "onnxruntime": "1.0", "openvino": "2.0"}
    monkeypatch.setattr(packages, "_version", versions.get)
    monkeypatch.setattr(processor, "kernel_flags", lambda: ("avx2",))
    monkeypatch.setattr(choice, "available_memory", lambda: 1 << 40)
    return versions


@pytest.fixture
def chosen(file):
    """Chooses with fake engines: `chosen(onnx_int8=GOOD, ...)`; forms not named are slow."""
    clock = Clock()

    def choose_with(*, llama=None, precision=None, runtime=None, setting=SETTING, **forms):
        options = {"onnx_int8": SLOW, "onnx_float32": SLOW, "openvino_float32": SLOW, **forms}
        bench = FakeBench(clock, llama, **options)
        found = choose(file, setting, precision=precision, runtime=runtime, bench=bench)
        assert all(engine.closed for engine in bench.engines)
        return found, bench

    return choose_with


def record(file):
    path = cache.root().joinpath(verdict.FOLDER, f"{ModelIdentity(file).fingerprint()}.json")
    return json.loads(path.read_text())


def test_the_fastest_that_passed_is_taken_and_only_its_graph_and_the_exact_one_stay(chosen):
    found, bench = chosen(onnx_int8=ROUGH, onnx_float32=GOOD, openvino_float32={"speed": 3000})
    assert found == Choice(INT8)
    assert bench.prepared == ["onnx-int8", "onnx-float32", "openvino-float32"]
    assert bench.kept == ["onnx-int8", "onnx-float32"]


def test_exact_takes_no_int8_and_does_not_try_it(chosen):
    found, bench = chosen(precision="exact", onnx_int8=GOOD, openvino_float32=GOOD)
    assert found == Choice(OPENVINO)
    assert bench.prepared == ["onnx-float32", "openvino-float32"]
    assert bench.kept == ["openvino-float32"]


def test_exact_where_fast_fails_with_a_note_that_comes_once(chosen):
    found, bench = chosen(onnx_int8=WRONG, onnx_float32=GOOD)
    assert found.form == BLOCKS
    assert "embedded by onnx-float32" in found.note
    assert "onnx-int8: the mean cosine to llama.cpp's vectors is 0.9" in found.note
    assert "under 0.9975" in found.note
    assert bench.kept == ["onnx-float32"]
    assert chosen()[0] == Choice(BLOCKS)


def test_llama_where_all_fail_with_a_note_that_comes_once(chosen):
    found, bench = chosen(onnx_int8=WRONG, onnx_float32=ROUGH, openvino_float32=WRONG)
    assert found.form is None
    assert "embedded by llama.cpp" in found.note
    assert "onnx-float32: the mean cosine to llama.cpp's vectors is 0.99" in found.note
    assert bench.kept == []
    assert chosen()[0] == Choice(None)


def test_llama_in_silence_where_nothing_is_faster(chosen):
    found, bench = chosen()
    assert found == Choice(None)
    assert bench.kept == []


def test_a_form_that_loses_on_a_short_text_alone_is_not_taken(chosen):
    found, _ = chosen(onnx_int8={"speed": 10_000, "overhead": 0.05})
    assert found.form is None


def test_a_verdict_is_kept_and_nothing_is_measured_twice(chosen, file):
    assert chosen(onnx_int8=GOOD)[0].form == INT8
    found, bench = chosen(onnx_int8=WRONG)
    assert (found, bench.prepared, bench.engines) == (Choice(INT8), [], [])
    (kept,) = verdict.all_known(ModelIdentity(file).fingerprint())
    assert [each.form for each in kept.forms] == [INT8, BLOCKS, OPENVINO]
    assert kept.forms[0].measures.speed == pytest.approx(4)
    assert "0.90 times llama.cpp's speed" in kept.forms[1].problem


def test_settings_have_verdicts_of_their_own(chosen, file):
    chosen(onnx_int8=GOOD)
    found, bench = chosen(onnx_float32=GOOD, setting=Setting(1, 0))
    assert found.form == BLOCKS
    assert len(bench.prepared) == 3
    assert chosen()[0].form == INT8
    assert len(verdict.all_known(ModelIdentity(file).fingerprint())) == 2


def test_another_version_of_a_runtime_is_measured_anew(chosen, machine):
    chosen(onnx_int8=GOOD)
    machine["onnxruntime"] = "1.1"
    found, bench = chosen(onnx_int8=WRONG, onnx_float32=GOOD)
    assert found.form == BLOCKS
    assert bench.prepared == ["onnx-int8", "onnx-float32"]


@pytest.mark.parametrize("changed", ["GRAPH_VERSION", "CHECK_VERSION"])
def test_another_version_of_graphs_or_of_the_check_is_measured_anew(chosen, monkeypatch, changed):
    chosen(onnx_int8=GOOD)
    monkeypatch.setattr(verdict, changed, 99)
    assert len(chosen()[1].prepared) == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: "not an object",
        lambda kept: kept.pop("build"),
        lambda kept: kept["verdicts"][0].pop("forms"),
        lambda kept: kept["verdicts"][0]["forms"][0].pop("measures"),
        lambda kept: kept["verdicts"][0]["forms"][0]["form"].update(numbers="int3"),
        lambda kept: kept["verdicts"][0]["forms"][0]["measures"].update(speed="fast"),
        lambda kept: kept["verdicts"][0]["forms"][0]["measures"].pop("speed"),
        lambda kept: kept.update(verdicts=3),
    ],
)
def test_a_damaged_verdict_counts_as_none(chosen, file, damage):
    chosen(onnx_int8=GOOD)
    kept = record(file)
    result = damage(kept)
    name = f"{ModelIdentity(file).fingerprint()}.json"
    cache.keep_record(result if isinstance(result, str) else kept, verdict.FOLDER, name)
    found, bench = chosen(onnx_float32=GOOD)
    assert found.form == BLOCKS
    assert len(bench.prepared) == 3


def test_prompts_are_read_by_exact_forms_that_were_measured_faster(chosen, file):
    chosen(onnx_int8=GOOD, onnx_float32={"speed": 1140}, openvino_float32={"speed": 1160})
    fingerprint = ModelIdentity(file).fingerprint()
    for form, expected in ((INT8, False), (BLOCKS, False), (OPENVINO, True)):
        assert verdict.reads_prompts(fingerprint, SETTING, form) is expected
    assert not verdict.reads_prompts(fingerprint, Setting(1, 0), OPENVINO)


def test_what_is_forgotten_is_measured_anew(chosen, file):
    fingerprint = ModelIdentity(file).fingerprint()
    for setting in (SETTING, Setting(1, 0)):
        chosen(onnx_int8=GOOD, setting=setting)
    verdict.forget(fingerprint, SETTING)
    assert [each.setting for each in verdict.all_known(fingerprint)] == [Setting(1, 0)]
    found, bench = chosen(onnx_float32=GOOD)
    assert (found.form, len(bench.prepared)) == (BLOCKS, 3)
    assert chosen(setting=Setting(1, 0))[0].form == INT8


def test_a_runtime_that_is_not_installed(chosen, machine, file):
    machine["onnxruntime"] = None
    found, bench = chosen(openvino_float32=GOOD)
    assert (found.form, bench.prepared) == (OPENVINO, ["openvino-float32"])
    machine["openvino"] = None
    assert chosen()[0] == Choice(None)
    with pytest.raises(MissingExtraError, match=r'pip install "gritlite\[openvino\]"'):
        chosen(runtime="openvino")


def test_a_runtime_that_was_removed(chosen, machine):
    assert chosen(onnx_int8=GOOD, openvino_float32={"speed": 9000})[0].form == OPENVINO
    machine["openvino"] = None
    assert chosen()[0] == Choice(INT8)


def test_a_choice_by_what_is_known(chosen, file, machine):
    assert known_choice(file, SETTING) == Choice(None)
    chosen(onnx_int8=ROUGH, onnx_float32=GOOD)
    keep_fingerprint(file)
    assert known_choice(file, SETTING) == Choice(INT8)
    assert known_choice(file, SETTING, precision="exact") == Choice(BLOCKS)
    assert known_choice(file, Setting(1, 0)) == Choice(None)
    machine["onnxruntime"] = "1.1"
    assert known_choice(file, SETTING) == Choice(None)


def test_a_runtime_that_is_installed_later_is_tried_then(chosen, machine):
    machine["openvino"] = None
    assert chosen(onnx_int8=GOOD)[0].form == INT8
    machine["openvino"] = "2.0"
    found, bench = chosen(openvino_float32={"speed": 9000})
    assert (found.form, bench.prepared) == (OPENVINO, ["openvino-float32"])


def test_llama_where_memory_is_short_with_the_reason(chosen, monkeypatch):
    chosen(onnx_int8=GOOD)
    monkeypatch.setattr(choice, "available_memory", lambda: 100)
    found, _ = chosen()
    assert found.form is None
    assert "needs 0 MiB and 0 MiB are free" in found.note
    monkeypatch.setattr(choice, "available_memory", lambda: None)
    assert chosen()[0] == Choice(INT8)


@pytest.mark.parametrize("error", [OutOfMemoryError("too little"), FileError("disk full")])
def test_what_may_change_is_not_kept(chosen, error):
    found, _ = chosen(onnx_int8={"failure": error})
    assert found.form is None
    assert str(error) in found.note
    found, bench = chosen(onnx_int8=GOOD)
    assert (found.form, bench.prepared) == (INT8, ["onnx-int8"])


def test_a_failure_of_the_runtime_is_kept(chosen):
    found, bench = chosen(onnx_int8={"error": LibraryError("no kernel")}, onnx_float32=GOOD)
    assert found.form == BLOCKS
    assert "onnx-int8: no kernel" in found.note
    assert bench.kept == ["onnx-float32"]
    assert chosen(onnx_int8=GOOD)[0] == Choice(BLOCKS)


def test_vectors_that_are_not_finite(chosen):
    found, _ = chosen(onnx_int8={"angle": float("nan")}, onnx_float32=GOOD)
    assert found.form == BLOCKS
    assert "onnx-int8: the model computed NaN" in found.note


def test_a_form_that_ended_the_process_is_not_tried_again(chosen, file):
    class Crash(BaseException):
        pass

    with pytest.raises(Crash):
        chosen(onnx_int8={"error": Crash()})
    assert verdict.known(ModelIdentity(file).fingerprint(), SETTING).forms == ()

    kept = []

    def crash(verdict):
        kept.append(verdict)
        raise Crash

    attempt = trials.Trials(file, FakeBench(Clock(), onnx_int8=GOOD), crash, None)
    with pytest.raises(Crash):
        attempt.run({INT8: "1.0"}, verdict.Verdict(SETTING, ()), no_progress, discard=True)
    verdict.keep(ModelIdentity(file).fingerprint(), kept[0])
    found, bench = chosen(onnx_float32=GOOD)
    assert bench.prepared == ["onnx-float32", "openvino-float32"]
    assert found.form == BLOCKS


def test_layers_that_no_graph_is_written_for(tmp_path):
    file = read_header(write_model(tmp_path / "other.gguf", BPE, arch="dream"))
    assert choose(file, SETTING) == Choice(None)
    with pytest.raises(ArchitectureError, match="dream"):
        choose(file, SETTING, runtime="onnx")


def test_a_runtime_by_name_is_taken_though_its_check_fails_with_the_cosine(chosen):
    for _ in range(2):
        found, bench = chosen(runtime="onnx", onnx_int8=WRONG, onnx_float32=ROUGH)
        assert found.form == BLOCKS
        assert "onnx-float32 did not pass its check" in found.note
        assert "cosine to llama.cpp's vectors is 0.99" in found.note
    assert bench.prepared == []
    found, _ = chosen(runtime="onnx", precision="fast")
    assert found.form == INT8
    assert "cosine to llama.cpp's vectors is 0.9" in found.note


def test_a_runtime_by_name_is_taken_though_it_is_slow_and_its_graph_stays(chosen):
    found, bench = chosen(runtime="openvino")
    assert found == Choice(OPENVINO)
    assert bench.prepared == bench.kept == ["openvino-float32"]
    found, bench = chosen(runtime="onnx", onnx_float32={"speed": 950})
    assert found == Choice(BLOCKS)
    assert bench.kept == ["onnx-float32"]


def test_fast_by_name_is_the_rounded_form_though_it_was_measured_slower(chosen):
    found, _ = chosen(runtime="onnx", precision="fast", onnx_int8=SLOW, onnx_float32=GOOD)
    assert found == Choice(INT8)
    assert chosen(runtime="onnx")[0] == Choice(BLOCKS)
    found, _ = chosen(runtime="openvino", precision="fast", openvino_float32=GOOD)
    assert found == Choice(OPENVINO)


def test_a_runtime_by_name_whose_check_could_not_run(chosen):
    wrong = {"error": LibraryError("no kernel")}
    found, _ = chosen(runtime="onnx", onnx_int8=wrong, onnx_float32=wrong)
    assert found.form == BLOCKS
    assert "no kernel" in found.note


def test_cancelling_keeps_what_was_found_before(file, chosen):
    cancel, clock = threading.Event(), Clock()
    bench = FakeBench(clock, onnx_int8=GOOD, onnx_float32={"failure": CancelledError("cancelled")})
    with pytest.raises(CancelledError):
        choose(file, SETTING, bench=bench, cancel=cancel)
    found, bench = chosen(onnx_float32=GOOD)
    assert bench.prepared == ["onnx-float32", "openvino-float32"]
    assert found.form == INT8


def test_progress_goes_up_to_its_total(file):
    seen = []
    bench = FakeBench(Clock(), onnx_int8=GOOD, onnx_float32=GOOD, openvino_float32=GOOD)
    choose(file, SETTING, bench=bench, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (1000, 1000)
    assert len(seen) == 7  # the file is read first


def test_without_a_cache_llama_embeds(file, monkeypatch, tmp_path):
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "taken" / "cache"))
    found = choose(file, SETTING)
    assert found.form is None
    assert "cannot create the cache folder" in found.note
    with pytest.raises(FileError, match="cannot create the cache folder"):
        choose(file, SETTING, runtime="onnx")


def test_candidates_by_the_files_numbers_and_the_processor(tmp_path, monkeypatch):
    from gguf import GGMLQuantizationType

    path = write_model(tmp_path / "q.gguf", BPE, kind=GGMLQuantizationType.Q8_0)
    names = [form.name for form in candidates(read_header(path), 0)]
    assert names == ["onnx-int8", "onnx-blocks", "openvino-blocks"]
    monkeypatch.setattr(processor, "kernel_flags", lambda: ("avx512_bf16",))
    floats = read_header(write_model(tmp_path / "f.gguf", BPE))
    names = [form.name for form in candidates(floats, 0)]
    assert names == ["onnx-int8", "onnx-float32", "openvino-float32", "openvino-bfloat16"]

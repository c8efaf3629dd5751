"""Damaged headers end in a GritLiteError or in a model that llama.cpp survives."""

import itertools
import resource
import time
from pathlib import Path

import pytest

from gritlite.errors import GritLiteError
from gritlite.modelfile.check import check_model
from gritlite.modelfile.description import describe
from gritlite.modelfile.header import read_header
from tests.modelfile.gguf_mutations import mutants
from tests.modelfile.load_gguf import outcomes
from tests.sample_gguf import BPE, SPM, write_model

MUTANTS = 5_000  # of each tokenizer's model
LOADED = 150  # of those that pass
GROWTH = 64 << 10  # KiB


@pytest.mark.parametrize(("tokenizer", "seed"), [(SPM, 1), (BPE, 2)])
def test_damaged_headers(tmp_path, tokenizer, seed):
    source = read_header(write_model(tmp_path / "sound.gguf", tokenizer))
    original = source.path.read_bytes()
    damaged = tmp_path / "damaged.gguf"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    passed: list[Path] = []
    refused = 0
    for number, data in enumerate(itertools.islice(mutants(source, seed), MUTANTS)):
        damaged.write_bytes(data)
        begin = time.process_time()
        try:
            header = read_header(damaged)
            describe(header)
            check_model(header)
        except GritLiteError:
            refused += 1
        else:
            if data != original and len(passed) < LOADED:
                passed.append(damaged.rename(tmp_path / f"{number}.gguf"))
        assert time.process_time() - begin < 1, f"mutant {number} took too long"
    assert refused > MUTANTS / 2
    assert len(passed) == LOADED
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWTH
    assert outcomes(passed).count("decoded: 0") > LOADED / 2


def test_the_loader_reports_a_death(tmp_path):
    """Show that the test above can fail: a model that our checks refuse does kill llama.cpp."""
    path = write_model(tmp_path / "m.gguf", BPE)
    entry = read_header(path).entries["llama.block_count"]
    data = bytearray(path.read_bytes())
    data[entry.end - 4 : entry.end] = bytes(4)
    path.write_bytes(data)
    with pytest.raises(GritLiteError, match="block_count is 0"):
        check_model(read_header(path))
    with pytest.raises(AssertionError, match=r"died trying .*m\.gguf"):
        outcomes([path])

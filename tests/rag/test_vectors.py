"""The types of vectors: float32 search is exact, the compressed types lose little."""

import numpy as np
import pytest

from gritlite.errors import UsageError
from gritlite.rag.vectors import Matrix, check_vector_type, packed

DIMENSION = 96


@pytest.fixture(scope="module")
def vectors():
    """Unit vectors in clusters, like those of texts."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, DIMENSION))
    found = centres[rng.integers(0, 40, 3000)] + 0.7 * rng.normal(size=(3000, DIMENSION))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def search(vectors, form, query, count):
    """The ids that a store with that type would find; ids are rows times 3."""
    kept = [packed(vector, form) for vector in vectors]
    searched = [bits if bits is not None else whole for whole, bits in kept]
    codes = np.frombuffer(b"".join(searched), np.uint8).reshape(len(vectors), -1)
    matrix = Matrix(form, np.arange(len(vectors)) * 3, codes)
    return matrix.nearest(query, count, lambda ids: [kept[i // 3][0] for i in sorted(ids)])


def exact(vectors, query, count):
    return [int(row) * 3 for row in np.argsort(-(vectors @ query))[:count]]


@pytest.mark.parametrize(("form", "recall"), [("float32", 1.0), ("int8", 0.95), ("binary", 0.95)])
def test_the_nearest_are_found(vectors, form, recall):
    rng = np.random.default_rng(1)
    queries = vectors[:40] + 0.02 * rng.normal(size=(40, DIMENSION)).astype(np.float32)
    shared = 0
    for query in queries:
        found = search(vectors, form, query, 10)
        cosines = [cosine for _, cosine in found]
        assert cosines == sorted(cosines, reverse=True)
        assert cosines[0] == pytest.approx(
            (vectors @ query).max() / np.linalg.norm(query), abs=0.01
        )
        shared += len({number for number, _ in found} & set(exact(vectors, query, 10)))
    assert shared / 400 >= recall


@pytest.mark.parametrize("form", ["float32", "int8", "binary"])
def test_fewer_vectors_than_asked_for(vectors, form):
    assert len(search(vectors[:3], form, vectors[0], 10)) == 3
    assert (
        Matrix(form, np.empty(0, np.int64), np.empty((0, 0), np.uint8)).nearest(
            vectors[0], 5, lambda _: []
        )
        == []
    )


def test_sizes_on_disk(vectors):
    sizes = {form: [part and len(part) for part in packed(vectors[0], form)] for form in FORMS}
    assert sizes == {"float32": [384, None], "int8": [96, None], "binary": [96, 12]}


FORMS = ("float32", "int8", "binary")


def test_another_form_is_refused():
    with pytest.raises(UsageError, match="expected one of float32, int8, binary"):
        check_vector_type("int4")

"""Neighbours and prototypes against plain loops in float64."""

import numpy as np
import pytest
import torch

from contrastive_learning.judging import Neighbours, Prototypes, by_vectors
from contrastive_learning.projections import own_slices


def drawn(num_training=150, num_queries=41, dim=12, criteria=3, judged=1.0, seed=0):
    """Vectors that depend on the criteria, and votes of two to four annotators; some are missing."""
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=(num_training + num_queries, criteria))
    vectors = quality @ rng.normal(size=(criteria, dim)) + 0.5 * rng.normal(size=(num_training + num_queries, dim))
    num_votes = rng.integers(2, 5, (num_training, criteria)) * (rng.random((num_training, criteria)) < judged)
    yes_votes = rng.binomial(num_votes, 1 / (1 + np.exp(-quality[:num_training])))
    return vectors[:num_training], yes_votes, num_votes, vectors[num_training:]


def unit(vector):
    length = sum(number**2 for number in vector) ** 0.5
    return [number / max(length, 1e-8) for number in vector]


def cosine(first, second):
    return sum(a * b for a, b in zip(unit(first), unit(second), strict=True))


def neighbours_by_loop(vectors, yes_votes, num_votes, queries, *, k, temperature, centre, parts):
    result = []
    for query in queries - centre:
        row = []
        for criterion, part in enumerate(parts):
            cosines = [
                (cosine(query[part], vector[part]), yes[criterion] / total[criterion])
                for vector, yes, total in zip(vectors - centre, yes_votes, num_votes, strict=True)
                if total[criterion] > 0
            ]
            near = sorted(cosines, reverse=True)[:k]
            weights = [np.exp(similarity / temperature) for similarity, _ in near]
            votes = sum(weight * share for weight, (_, share) in zip(weights, near, strict=True))
            row.append(votes / sum(weights) if near else 0.5)
        result.append(row)
    return np.array(result)


SPACES = [
    pytest.param({}, id="one space"),
    pytest.param({"centred": True}, id="centred"),
    pytest.param({"own": True}, id="own slices"),
]


def arguments(vectors, criteria, *, centred=False, own=False):
    """Of `fit`, and of the loops."""
    dim = vectors.shape[1]
    centre = vectors.mean(axis=0) if centred else None
    parts = own_slices(dim, criteria) if own else None
    by_loop = {
        "centre": np.zeros(dim) if centre is None else centre,
        "parts": parts or [slice(0, dim)] * criteria,
    }
    return {"centre": centre, "parts": parts}, by_loop


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("judged", [1.0, 0.6, 0.05])
def test_neighbours_are_those_of_a_loop(space, judged):
    vectors, yes_votes, num_votes, queries = drawn(judged=judged)
    num_votes[:, 2] *= judged > 0.1  # then nobody judged the last criterion
    yes_votes[:, 2] *= judged > 0.1
    fitted, by_loop = arguments(vectors, 3, **space)
    neighbours = Neighbours.fit(vectors, yes_votes, num_votes, k=16, temperature=0.05, **fitted)
    found = neighbours.probabilities(queries)
    expected = neighbours_by_loop(vectors, yes_votes, num_votes, queries, k=16, temperature=0.05, **by_loop)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert 0.1 < found[:, 0].std() < 0.5


def test_single_precision_is_close_and_half_precision_is_compared_in_it():
    vectors, yes_votes, num_votes, queries = drawn()
    found = []
    for dtype in (np.float64, np.float32, np.float16):
        given, asked = vectors.astype(np.float16).astype(dtype), queries.astype(np.float16).astype(dtype)
        found.append(Neighbours.fit(given, yes_votes, num_votes, k=5, temperature=0.1).probabilities(asked))
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)
    np.testing.assert_array_equal(found[2], found[1])


def test_reasons_are_the_nearest_first_with_their_weights():
    vectors, yes_votes, num_votes, queries = drawn(judged=0.5)
    neighbours = Neighbours.fit(vectors, yes_votes, num_votes, k=7, temperature=0.2)
    for criterion, found in enumerate(neighbours.reasons(queries)):
        assert found.rows.shape == (len(queries), 7)
        assert (num_votes[found.rows, criterion] > 0).all()
        assert (np.diff(found.similarity, axis=1) <= 0).all()
        assert found.similarity[3, 0] == pytest.approx(cosine(queries[3], vectors[found.rows[3, 0]]))
        np.testing.assert_allclose(found.weight.sum(axis=1), 1)
        shares = yes_votes[found.rows, criterion] / num_votes[found.rows, criterion]
        np.testing.assert_allclose((found.weight * shares).sum(axis=1), neighbours.probabilities(queries)[:, criterion])


@pytest.mark.parametrize("num_rows", [1, by_vectors.BLOCK, 40 * by_vectors.BLOCK + 1])
def test_the_search_by_blocks_is_exact(num_rows):
    """More queries than are compared at a time; also with fewer blocks than neighbours."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(num_rows, 4, generator=generator, dtype=torch.float64)
    queries = torch.randn(2 * by_vectors.QUERIES + 1, 4, generator=generator, dtype=torch.float64)
    padded = torch.nn.functional.pad(rows, (0, 0, 0, -num_rows % by_vectors.BLOCK))
    ignored = torch.arange(num_rows, len(padded))
    k = min(16, num_rows)
    values, indices = by_vectors.nearest(queries, padded, ignored, k)
    expected = (queries @ rows.T).topk(k, dim=1)
    torch.testing.assert_close(values, expected.values)
    assert indices.equal(expected.indices)


def prototypes_by_loop(vectors, yes_votes, num_votes, queries, *, temperature, centre, parts):
    result = []
    for query in queries - centre:
        row = []
        for criterion, part in enumerate(parts):
            sums = {True: np.zeros(len(query[part])), False: np.zeros(len(query[part]))}
            for vector, yes, total in zip(vectors - centre, yes_votes, num_votes, strict=True):
                if 2 * yes[criterion] != total[criterion]:
                    sums[bool(2 * yes[criterion] > total[criterion])] += unit(vector[part])
            difference = cosine(query[part], sums[True]) - cosine(query[part], sums[False])
            known = sums[True].any() and sums[False].any()
            row.append(1 / (1 + np.exp(-difference / temperature)) if known else 0.5)
        result.append(row)
    return np.array(result)


@pytest.mark.parametrize("space", SPACES)
def test_prototypes_are_those_of_a_loop(space):
    vectors, yes_votes, num_votes, queries = drawn(judged=0.7)
    yes_votes[:, 2] = num_votes[:, 2]  # nobody said no
    fitted, by_loop = arguments(vectors, 3, **space)
    found = Prototypes.fit(vectors, yes_votes, num_votes, temperature=0.3, **fitted).probabilities(queries)
    expected = prototypes_by_loop(vectors, yes_votes, num_votes, queries, temperature=0.3, **by_loop)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert (found[:, 2] == 0.5).all()
    assert 0.1 < found[:, 0].std() < 0.5


@pytest.mark.parametrize("space", SPACES)
def test_what_is_saved_gives_the_same_probabilities(tmp_path, space):
    vectors, yes_votes, num_votes, queries = drawn(judged=0.8)
    fitted, _ = arguments(vectors.astype(np.float32), 3, **space)
    given = vectors.astype(np.float32), yes_votes, num_votes
    for number, judge in enumerate(
        (Neighbours.fit(*given, k=4, temperature=0.1, **fitted), Prototypes.fit(*given, temperature=0.1, **fitted))
    ):
        judge.save(tmp_path / str(number))
        loaded = type(judge).load(tmp_path / str(number))
        np.testing.assert_array_equal(loaded.probabilities(queries), judge.probabilities(queries))


def test_an_index_finds_nearly_all_that_comparing_all_finds(monkeypatch):
    pytest.importorskip("faiss", reason="the optional extra index is not installed")
    vectors, yes_votes, num_votes, queries = drawn(num_training=3000, num_queries=200)
    given = vectors.astype(np.float32), yes_votes, num_votes
    exact = Neighbours.fit(*given, k=8, temperature=0.1)
    expected = exact.probabilities(queries)
    monkeypatch.setattr(by_vectors, "EXACT_ROWS", 2999)
    indexed = Neighbours.fit(*given, k=8, temperature=0.1)
    rows, exact_rows = (judge.reasons(queries)[0].rows for judge in (indexed, exact))
    assert np.mean([len(set(a) & set(b)) / 8 for a, b in zip(rows, exact_rows, strict=True)]) > 0.8
    found = indexed.probabilities(queries)
    assert 0 < np.abs(found - expected).mean() < 0.02
    np.testing.assert_array_equal(Neighbours.fit(*given, k=8, temperature=0.1).probabilities(queries), found)


def test_without_the_index_too_many_responses_are_refused(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    by_vectors.check_size(by_vectors.EXACT_ROWS)
    with pytest.raises(ValueError, match=r"100001 judged responses need an index.*contrastive-quality\[index\]"):
        by_vectors.check_size(by_vectors.EXACT_ROWS + 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"temperature": 0}, "temperature must be positive, got 0"),
        ({"parts": [slice(0, 2)]}, "parts must be one per criterion, got 1 for 3 criteria"),
        ({"vectors": np.zeros((2, 3))}, r"votes \[responses, criteria\], got \(2, 3\), \(150, 3\) and \(150, 3\)"),
        ({"vectors": np.full((150, 3), np.nan)}, "vectors must be finite"),
    ],
)
def test_impossible_arguments_are_refused(changes, message):
    vectors, yes_votes, num_votes, _ = drawn()
    arguments = {"vectors": vectors, "yes_votes": yes_votes, "num_votes": num_votes, "k": 3, "temperature": 0.1}
    with pytest.raises(ValueError, match=message):
        Neighbours.fit(**(arguments | changes))


def test_vectors_of_another_length_are_refused():
    vectors, yes_votes, num_votes, _ = drawn()
    for judge in (
        Neighbours.fit(vectors, yes_votes, num_votes, k=3, temperature=0.1),
        Prototypes.fit(vectors, yes_votes, num_votes, temperature=0.1),
    ):
        with pytest.raises(ValueError, match=r"vectors must be \[responses, 12\], got shape \(5, 3\)"):
            judge.probabilities(np.zeros((5, 3)))

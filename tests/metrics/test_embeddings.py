from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, silhouette_score

from contrastive_learning.metrics import effective_rank, embedding_metrics
from contrastive_learning.metrics.embeddings import BLOCK

CRITERIA = ("polite", "specific")


def measure(embeddings, yes_votes, num_votes, criteria=CRITERIA, max_samples=1000, seed=0, projection="shared"):
    return embedding_metrics(
        embeddings, yes_votes, num_votes, criteria, projection=projection, max_samples=max_samples, seed=seed
    )


def random_case(num_responses=60, dim=5, seed=0, missing=0.2):
    """Unit embeddings that lean to one side with the votes of the first criterion; some votes missing."""
    rng = np.random.default_rng(seed)
    yes_votes = rng.integers(0, 4, (num_responses, 2))
    num_votes = np.where(rng.random(yes_votes.shape) < missing, 0, 3)
    z = rng.standard_normal((num_responses, dim))
    z[:, 0] += yes_votes[:, 0] - 1.5
    return z / np.linalg.norm(z, axis=1, keepdims=True), np.minimum(yes_votes, num_votes), num_votes


def naive(z, yes_votes, num_votes, neighbours=11):
    """Loops over pairs and scikit-learn."""
    found = {"alignment": [], "alignment_unanimous_yes": [], "knn_macro_f1": [], "silhouette": []}
    for column in range(yes_votes.shape[1]):
        rows = np.flatnonzero(num_votes[:, column])
        yes, unanimous = (yes_votes[:, column] >= limit for limit in (2, 3))
        pairs = [(i, j, np.sum((z[i] - z[j]) ** 2)) for i, j in combinations(rows, 2)]
        found["alignment"].append(np.mean([d for i, j, d in pairs if yes[i] == yes[j]]))
        found["alignment_unanimous_yes"].append(np.mean([d for i, j, d in pairs if unanimous[i] and unanimous[j]]))
        found["silhouette"].append(silhouette_score(z[rows], yes[rows], metric="cosine"))
        predicted = []
        for i in rows:
            nearest = sorted((j for j in rows if j != i), key=lambda j: -z[i] @ z[j])[:neighbours]
            predicted.append(np.mean(yes[nearest]) > 0.5)
        found["knn_macro_f1"].append(f1_score(yes[rows], predicted, average="macro"))
    distances = [np.sum((z[i] - z[j]) ** 2) for i, j in combinations(range(len(z)), 2)]
    means = {name: np.mean(values) for name, values in found.items()}
    means["uniformity"] = np.log(np.mean(np.exp(-2 * np.array(distances))))
    return means | {f"silhouette/{name}": value for name, value in zip(CRITERIA, found["silhouette"], strict=True)}


@pytest.mark.parametrize("num_responses", [60, BLOCK + 20])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_agrees_with_loops_over_pairs(missing, num_responses):
    case = random_case(num_responses, missing=missing)
    metrics = measure(*case)
    singular = np.linalg.svd(case[0], compute_uv=False)
    share = singular / singular.sum()
    assert metrics.pop("effective_rank") == pytest.approx(np.exp(-np.sum(share * np.log(share))))
    assert metrics == pytest.approx(naive(*case))


def test_two_antipodal_clusters():
    """Pairs within have distance 0, across 2^2 = 4; of the 6 pairs of 2 + 2 responses 4 are across.

    uniformity = ln((2 + 4 e^-8) / 6). Silhouette: within 0, between 2, so 1. One direction: effective rank 1.
    All three others are neighbours, two of them on the other side: every prediction is wrong.
    """
    z = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    votes = np.array([[3], [3], [0], [0]])
    assert measure(z, votes, np.full_like(votes, 3), ["c"]) == pytest.approx(
        {
            "alignment": 0,
            "alignment_unanimous_yes": 0,
            "uniformity": np.log((2 + 4 * np.exp(-8)) / 6),
            "effective_rank": 1,
            "knn_macro_f1": 0,
            "silhouette": 1,
            "silhouette/c": 1,
        }
    )


def test_collapse_is_finite():
    z = np.tile([0.6, 0.8], (8, 1)).astype(np.float16)
    votes = np.array([[3, 0], [0, 0]] * 4)
    metrics = measure(z, votes, np.full_like(votes, 3))
    assert metrics["alignment"] == pytest.approx(0, abs=1e-12)
    assert metrics["uniformity"] == pytest.approx(0, abs=1e-12)
    assert metrics["silhouette"] == 0
    assert metrics["effective_rank"] == pytest.approx(1)
    assert "silhouette/specific" not in metrics  # one class


@given(st.integers(0, 1000), st.integers(0, 3))
def test_missing_votes_never_change_results(seed, anything):
    z, yes_votes, num_votes = random_case(20, seed=seed)
    changed = np.where(num_votes > 0, yes_votes, anything)
    assert measure(z, changed, num_votes) == measure(z, yes_votes, num_votes)


@given(st.integers(0, 1000))
def test_neither_the_order_nor_a_rotation_matters(seed):
    z, yes_votes, num_votes = random_case(20, seed=seed)
    rng = np.random.default_rng(seed)
    order, rotation = rng.permutation(20), np.linalg.qr(rng.standard_normal((5, 5)))[0]
    moved = measure(z[order] @ rotation, yes_votes[order], num_votes[order])
    assert moved == pytest.approx(measure(z, yes_votes, num_votes), abs=1e-9)


def test_a_subsample_is_seeded_and_close_to_the_whole():
    case = random_case(2000, missing=0)
    whole, part = measure(*case, max_samples=2000), measure(*case, max_samples=500)
    assert part == measure(*case, max_samples=500)
    assert part != measure(*case, max_samples=500, seed=1)
    assert part == pytest.approx(whole, abs=0.1)


def test_a_criterion_is_measured_in_its_own_slice():
    """5 dimensions for 2 criteria: numbers 0-2 are the first one's, 3-4 the second one's."""
    z, yes_votes, num_votes = random_case()
    parts = z[:, :3], z[:, 3:]
    alone = [
        measure(part / np.linalg.norm(part, axis=1, keepdims=True), yes_votes[:, [c]], num_votes[:, [c]], [name])
        for c, (name, part) in enumerate(zip(CRITERIA, parts, strict=True))
    ]
    own = measure(z, yes_votes, num_votes, projection="per_criterion")
    means = {name: (alone[0][name] + alone[1][name]) / 2 for name in own if "/" not in name}
    assert own == pytest.approx(
        means | {f"silhouette/{n}": a["silhouette"] for n, a in zip(CRITERIA, alone, strict=True)}
    )
    shared = measure(z, yes_votes, num_votes)
    assert list(own) == list(shared)
    assert not any(own[name] == pytest.approx(shared[name]) for name in own)


def test_one_criterion_owns_the_whole_embedding():
    z, yes_votes, num_votes = random_case()
    column = yes_votes[:, :1], num_votes[:, :1], ["polite"]
    assert measure(z, *column, projection="per_criterion") == measure(z, *column)


def test_the_mean_over_slices_leaves_out_criteria_with_one_class():
    z, yes_votes, num_votes = random_case(missing=0)
    yes_votes[:, 1] = 3
    own = measure(z, yes_votes, num_votes, projection="per_criterion")
    first = measure(z[:, :3], yes_votes[:, :1], num_votes[:, :1], ["polite"])
    names = ("alignment", "alignment_unanimous_yes", "knn_macro_f1", "silhouette", "silhouette/polite")
    assert {name: own[name] for name in names} == {name: first[name] for name in names}
    assert "silhouette/specific" not in own


def test_the_same_responses_are_drawn_for_every_slice():
    case = random_case(300)
    rows = np.random.default_rng(4).choice(300, 100, replace=False)
    drawn = measure(*case, projection="per_criterion", max_samples=100, seed=4)
    assert drawn == measure(*(column[rows] for column in case), projection="per_criterion")


@pytest.mark.parametrize("num_responses", [0, 1, 2, 3])
def test_few_responses_are_no_error(num_responses):
    z = np.eye(4)[:num_responses]
    yes_votes = np.array([[3, 0], [0, 0], [3, 3]])[:num_responses]
    metrics = measure(z, yes_votes, np.full_like(yes_votes, 3))
    assert np.isfinite(list(metrics.values())).all()
    assert ("uniformity" in metrics) == (num_responses >= 2)
    assert ("knn_macro_f1" in metrics) == (num_responses >= 2)
    assert ("alignment" in metrics) == (num_responses >= 3)


def test_nothing_judged_leaves_what_needs_no_labels():
    z, yes_votes, _ = random_case()
    nothing = np.zeros_like(yes_votes)
    assert measure(z, nothing, nothing).keys() == {"uniformity", "effective_rank"}


def test_effective_rank_of_equal_directions_is_their_number():
    assert effective_rank(np.eye(6)[:, :4]) == pytest.approx(4)
    assert effective_rank(np.ones((5, 900))) == pytest.approx(1)
    assert effective_rank(np.zeros((5, 3))) == 0
    assert effective_rank(1e-30 * np.eye(3, dtype=np.float32)) == pytest.approx(3)


@pytest.mark.parametrize("shape", [(40, 7), (7, 40)])
def test_effective_rank_agrees_with_the_singular_values(shape):
    matrix = np.random.default_rng(0).standard_normal(shape) * np.geomspace(1, 1e-4, shape[1])
    singular = np.linalg.svd(matrix, compute_uv=False)
    share = singular / singular.sum()
    assert effective_rank(matrix) == pytest.approx(np.exp(-np.sum(share * np.log(share))))


def test_impossible_input_is_refused():
    z, yes_votes, num_votes = random_case(4)
    with pytest.raises(ValueError, match="embeddings must be finite"):
        measure(z * np.nan, yes_votes, num_votes)
    with pytest.raises(ValueError, match=r"votes must be \[responses, criteria\]"):
        measure(z, yes_votes[:2], num_votes)
    with pytest.raises(ValueError, match="max_samples must be at least 2, got 1"):
        measure(z, yes_votes, num_votes, max_samples=1)
    with pytest.raises(ValueError, match="projection must be one of shared, per_criterion; got own"):
        measure(z, yes_votes, num_votes, projection="own")
    with pytest.raises(ValueError, match="at least 2 dimensions per criterion, got 3 for 2 criteria"):
        measure(z[:, :3], yes_votes, num_votes, projection="per_criterion")
    with pytest.raises(ValueError, match="effective_rank needs a finite matrix"):
        effective_rank(z[0])

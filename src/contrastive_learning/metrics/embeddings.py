"""Metrics of an embedding space: whether responses of equal quality are close, and how much of the sphere is used."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from contrastive_learning.choices import check_choice
from contrastive_learning.metrics.rated import BoolArray, FloatArray, f1_of_both
from contrastive_learning.projections import PROJECTIONS, own_slices

MAX_NEIGHBOURS = 11  # odd, so that neighbours never tie
SAME_POINT = 1e-9  # cosine distances below it are rounding
BLOCK = 128  # rows that are compared with all others at a time: their similarities stay in the processor's cache


def embedding_metrics(
    embeddings: ArrayLike,
    yes_votes: ArrayLike,
    num_votes: ArrayLike,
    criteria: Sequence[str],
    *,
    projection: str,
    max_samples: int,
    seed: int,
) -> dict[str, float]:
    """Metrics of embeddings [responses, dim] of unit norm; votes: [responses, criteria], 0 of 0 = no votes.

    With projection "per_criterion", a criterion is measured in its own slice of the embedding, scaled to unit norm, and
    every metric is a mean over the criteria; with "shared", in the whole embedding.
    Of more than `max_samples` responses a random subset is used. Means over the criteria with both majority classes:
    - `alignment`: mean squared distance of pairs with the same majority (Wang & Isola 2020), 0..4, lower is better;
      `alignment_unanimous_yes`: of pairs that all annotators call good.
    - `knn_macro_f1`: mean of F1(yes) and F1(no) of the majority of the nearest neighbours, without the response itself.
    - `silhouette`, also `silhouette/<criterion>`: with cosine distance, if both classes have two responses.
    Without labels:
    - `uniformity`: log of the mean of exp(-2 squared distance) over pairs, lower is more uniform, 0 = collapse.
    - `effective_rank`, at most the dimension.
    A metric that is undefined for too few responses is left out. Raises ValueError for other shapes.
    """
    z: FloatArray = np.asarray(embeddings, dtype=np.float64)
    yes_count, count = np.asarray(yes_votes), np.asarray(num_votes)
    _check(z, yes_count, count, criteria, max_samples)
    check_choice("projection", projection, PROJECTIONS)
    if len(z) > max_samples:
        rows = np.random.default_rng(seed).choice(len(z), max_samples, replace=False)
        z, yes_count, count = z[rows], yes_count[rows], count[rows]
    if len(z) < 2:
        return {}
    if projection == "shared":
        return _metrics_of_a_space(z, yes_count, count, criteria)
    found = [
        _metrics_of_a_space(z[:, part], yes_count[:, [c]], count[:, [c]], [criteria[c]])
        for c, part in enumerate(own_slices(z.shape[1], len(criteria)))
    ]
    return {
        name: float(np.mean([metrics[name] for metrics in found if name in metrics]))
        for name in dict.fromkeys(name for metrics in found for name in metrics)
    }


def _metrics_of_a_space(
    z: FloatArray, yes_count: NDArray[Any], count: NDArray[Any], criteria: Sequence[str]
) -> dict[str, float]:
    """Of at least two responses."""
    z = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)  # half precision is off by up to 1 %
    rated = count > 0
    yes = rated & (2 * yes_count > count)
    unanimous_yes = rated & (yes_count == count)
    both = [c for c in range(len(criteria)) if yes[:, c].any() and (rated & ~yes)[:, c].any()]

    uniformity, neighbours_say = _compare_pairs(z, rated[:, both], yes[:, both])
    metrics = {"uniformity": uniformity, "effective_rank": effective_rank(z)}
    silhouettes = {criteria[c]: _silhouette(z[rated[:, c]], yes[rated[:, c], c]) for c in both}
    means: dict[str, Sequence[float | None]] = {
        "alignment": [_alignment(z[yes[:, c]], z[rated[:, c] & ~yes[:, c]]) for c in both],
        "alignment_unanimous_yes": [_alignment(z[unanimous_yes[:, c]]) for c in both],
        "knn_macro_f1": [
            float(np.mean(f1_of_both(yes[rated[:, c], c], said[rated[:, c]])))
            for c, said in zip(both, neighbours_say.T, strict=True)
        ],
        "silhouette": list(silhouettes.values()),
    }
    for name, values in means.items():
        defined = [value for value in values if value is not None]
        if defined:
            metrics[name] = float(np.mean(defined))
    return metrics | {f"silhouette/{name}": value for name, value in silhouettes.items() if value is not None}


def effective_rank(matrix: ArrayLike) -> float:
    """RankMe (Garrido et al. 2023): exp of the entropy of the singular values of [rows, columns], scaled to sum 1.

    1..min(rows, columns); 0 for a matrix of zeros. Values below 1e-7 of the largest count as 0.
    """
    rows = np.asarray(matrix, dtype=np.float64)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise ValueError(f"effective_rank needs a finite matrix, got shape {rows.shape}")
    if not rows.any():
        return 0.0
    rows = rows / np.abs(rows).max()
    gram = rows @ rows.T if rows.shape[0] < rows.shape[1] else rows.T @ rows  # several times faster than an SVD
    squares = np.linalg.eigvalsh(gram)
    singular = np.sqrt(squares[squares > 1e-14 * squares.max()])
    share = singular / singular.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def _check(
    z: FloatArray, yes_votes: NDArray[np.generic], num_votes: NDArray[np.generic], criteria: Sequence[str], limit: int
) -> None:
    if z.ndim != 2 or not np.isfinite(z).all():
        raise ValueError(f"embeddings must be finite and [responses, dim], got shape {z.shape}")
    expected = (len(z), len(criteria))
    if yes_votes.shape != expected or num_votes.shape != expected:
        raise ValueError(f"votes must be [responses, criteria] = {expected}, got {yes_votes.shape}, {num_votes.shape}")
    if limit < 2:
        raise ValueError(f"max_samples must be at least 2, got {limit}")


def _compare_pairs(z: FloatArray, rated: BoolArray, yes: BoolArray) -> tuple[float, BoolArray]:
    """The uniformity of z [responses, dim]; whether most nearest neighbours of each are a yes [responses, criteria].

    Neighbours are searched among those with votes on the criterion. In the uniformity |a - b|^2 = 2 - 2ab, so every
    term is in exp(-8)..1: no overflow.
    """
    size, total = len(z), 0.0
    said = np.zeros_like(yes)
    columns_of: dict[bytes, list[int]] = {}  # most criteria have votes on the same responses
    for column in range(rated.shape[1]):
        columns_of.setdefault(rated[:, column].tobytes(), []).append(column)
    for start in range(0, size, BLOCK):
        similarity = z[start : start + BLOCK] @ z.T  # [rows, responses]
        rows = len(similarity)
        terms = np.exp(4 * similarity[:, start:] - 4)
        total += float(terms[:, rows:].sum() + np.triu(terms[:, :rows], 1).sum())  # each pair once
        distance = -similarity
        distance[range(rows), range(start, start + rows)] = np.inf
        for columns in columns_of.values():
            candidates = rated[:, columns[0]]
            near = _nearest(distance if candidates.all() else np.where(candidates, distance, np.inf), candidates)
            said[start : start + rows, columns] = yes[:, columns][near].mean(axis=1) > 0.5
    return float(np.log(2 * total / (size * (size - 1)))), said


def _nearest(distance: FloatArray, candidates: BoolArray) -> NDArray[np.intp]:
    """The nearest of the candidates [responses] of each row [rows, neighbours], an odd number of them."""
    count = min(MAX_NEIGHBOURS, int(candidates.sum()) - 1)
    count -= count % 2 == 0
    farthest = np.partition(distance, count - 1, axis=1)[:, count - 1 : count]  # in half the time of argpartition
    near: NDArray[np.intp] = np.flatnonzero(distance <= farthest) % distance.shape[1]
    if len(near) == count * len(distance):
        return near.reshape(-1, count)
    return np.argpartition(distance, count - 1, axis=1)[:, :count]  # some are equally far


def _alignment(*classes: FloatArray) -> float | None:
    """Mean squared distance of the pairs within classes, each [members, dim]; None without a pair.

    Over the pairs of n members the squared distances sum to n sum |z|^2 - |sum z|^2.
    """
    num_pairs = sum(len(members) * (len(members) - 1) / 2 for members in classes)
    total = sum(len(members) * (members**2).sum() - (members.sum(axis=0) ** 2).sum() for members in classes)
    return float(total / num_pairs) if num_pairs else None


def _silhouette(z: FloatArray, yes: BoolArray) -> float | None:
    """Needs no matrix of distances: the cosine distances to a class sum to its size - z . (sum of the class)."""
    sizes = np.array([np.count_nonzero(~yes), np.count_nonzero(yes)])
    if sizes.min() < 2:
        return None
    sums = np.stack([z[~yes].sum(axis=0), z[yes].sum(axis=0)])
    distances = sizes - z @ sums.T  # [responses, 2]
    own, other = yes.astype(int), 1 - yes.astype(int)
    row = np.arange(len(z))
    within = distances[row, own] / (sizes[own] - 1)  # the distance to itself is 0
    between = distances[row, other] / sizes[other]
    larger = np.maximum(within, between)
    return float(np.mean(np.where(larger > SAME_POINT, (between - within) / np.maximum(larger, SAME_POINT), 0.0)))

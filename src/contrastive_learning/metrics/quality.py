"""Metrics of probabilities against votes.

A response is a "yes" if more than half of its votes are, so a tie is a "no". A response without votes on a criterion
takes no part in any metric of that criterion. A metric that a split does not define is left out, never NaN: the keys
depend only on the votes, so that they are the same for every model.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from contrastive_learning.metrics.rated import FloatArray, Rated, bins_of, f1, per_criterion, rated, shrunk_choice
from contrastive_learning.metrics.table import MAX_BINS, METRICS, Metric, means_by_votes

OF_VOTE_SHARES = ("brier", "borderline/brier")  # also reported of the calibrated probabilities


class Reliability(NamedTuple):
    """A reliability curve; each array has one entry per bin that is not empty."""

    mean_probability: FloatArray
    vote_share: FloatArray
    size: NDArray[np.int64]


def choose_thresholds(probabilities: ArrayLike, yes_votes: ArrayLike, num_votes: ArrayLike) -> FloatArray:
    """The threshold of each criterion [criteria] for a good mean of F1(yes) and F1(no); "yes" is p > threshold.

    The best cut of a small set is mostly luck. So each cut between neighbouring probabilities gets the weight
    exp((F1 - best F1) / SE), SE = sqrt(best F1 (1 - best F1) / responses), and the threshold is the weighted mean.
    On simulated splits this halves, roughly, what the plain best cut loses on new data. A criterion with one class, or
    with one probability for all, keeps 0.5.
    """
    columns = per_criterion(probabilities, yes_votes, num_votes)
    return np.array([_threshold(column) for column in columns], dtype=np.float64)


def quality_metrics(
    probabilities: ArrayLike,
    yes_votes: ArrayLike,
    num_votes: ArrayLike,
    criteria: Sequence[str],
    thresholds: ArrayLike,
) -> dict[str, float]:
    """Metrics of probabilities [responses, criteria] against votes of the same shape; thresholds: [criteria].

    `METRICS` in table.py lists the metrics, their names and definitions. Besides them:
    - `criteria_with_both_classes`: the number of criteria with a majority of each kind, over which F1, AUROC and
      average precision are averaged.
    - `borderline/share`: share of split votes, over the votes of all criteria.
    - `borderline/brier_of_half`: `borderline/brier` of a judge that always says 0.5, which knows nothing.
    - `mean_probability/votes_<k>_of_<n>`: mean probability of the responses with k yes votes of n, n being the
      commonest number of votes.

    Raises ValueError for other shapes, probabilities outside 0..1 and yes_votes outside 0..num_votes.

    >>> quality_metrics([[0.9], [0.2]], [[3], [1]], [[3], [3]], ["polite"], [0.5])["macro_f1"]
    1.0
    """
    columns = per_criterion(probabilities, yes_votes, num_votes)
    thresholds = np.asarray(thresholds, dtype=np.float64)
    if not len(columns) == len(criteria) == len(thresholds):
        raise ValueError(
            "probabilities, criteria and thresholds must have as many criteria each, "
            f"got {len(columns)}, {len(criteria)} and {len(thresholds)}"
        )
    pooled = _pooled(columns)
    usual = pooled.usual_num_votes
    columns = [
        column._replace(threshold=float(threshold), usual_num_votes=usual)
        for column, threshold in zip(columns, thresholds, strict=True)
    ]
    found = [(metric, _values(metric, columns, criteria)) for metric in METRICS]
    metrics = {"criteria_with_both_classes": float(sum(column.has_both_classes for column in columns))}
    for metric, values in found:
        metrics |= _summary(metric, list(values.values()), pooled)
    if len(pooled.probability):
        metrics["borderline/share"] = float(np.mean(pooled.split))
    if pooled.split.any():
        metrics["borderline/brier_of_half"] = float(np.mean((pooled.only(pooled.split).share - 0.5) ** 2))
    for votes, mean_probability in means_by_votes(pooled).items():
        metrics[f"mean_probability/votes_{votes}_of_{usual}"] = mean_probability
    for criterion in criteria:
        for metric, values in found:
            if metric.per_criterion and criterion in values:
                metrics[f"{metric.per_criterion}/{criterion}"] = values[criterion]
    return metrics


def f1_scores(
    probabilities: ArrayLike, yes_votes: ArrayLike, num_votes: ArrayLike, thresholds: ArrayLike
) -> FloatArray:
    """`f1/<criterion>` of `quality_metrics` by itself, all criteria at once [criteria]; NaN where it is undefined.

    The arrays [responses, criteria] and thresholds [criteria] are those of `quality_metrics`, and are not checked.

    >>> f1_scores([[0.9, 0.4], [0.2, 0.3]], [[3, 3], [1, 3]], [[3, 3], [3, 3]], [0.5, 0.5])
    array([ 1., nan])
    """
    total = np.asarray(num_votes)
    judged, yes = total > 0, 2 * np.asarray(yes_votes).round(5) > total
    no, predicted = judged & ~yes, judged & (np.asarray(probabilities) > np.asarray(thresholds))
    f1_yes = f1((yes & predicted).sum(0), yes.sum(0), predicted.sum(0))
    f1_no = f1((no & ~predicted).sum(0), no.sum(0), (judged & ~predicted).sum(0))
    return np.where(yes.any(0) & no.any(0), (f1_yes + f1_no) / 2, np.nan)


def vote_share_metrics(shares: ArrayLike, yes_votes: ArrayLike, num_votes: ArrayLike) -> dict[str, float]:
    """`brier_of_vote_share` and `borderline/brier_of_vote_share`: the Brier scores of the expected vote shares.

    Each array [responses, criteria], see `vote_shares`. Raises ValueError as `quality_metrics` does.
    """
    columns = per_criterion(shares, yes_votes, num_votes)
    pooled, criteria = _pooled(columns), [str(number) for number in range(len(columns))]
    return {
        f"{name}_of_vote_share": value
        for metric in METRICS
        if metric.summary in OF_VOTE_SHARES
        for name, value in _summary(metric, list(_values(metric, columns, criteria).values()), pooled).items()
    }


def reliability(
    probabilities: ArrayLike, yes_votes: ArrayLike, num_votes: ArrayLike, bins: int = MAX_BINS
) -> Reliability:
    """Mean probability against mean vote share in bins of equal size, over everything with votes.

    The arrays may have any shape, the same for all three. Equal probabilities share a bin.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    column = rated(*(np.asarray(values).reshape(-1) for values in (probabilities, yes_votes, num_votes)))
    bin_of = bins_of(column.probability, bins)
    size = np.bincount(bin_of, minlength=bins)
    filled = size > 0
    mean_probability = np.bincount(bin_of, column.probability, bins)[filled] / size[filled]
    vote_share = np.bincount(bin_of, column.share, bins)[filled] / size[filled]
    return Reliability(mean_probability, vote_share, size[filled])


def _pooled(columns: Sequence[Rated]) -> Rated:
    probability = np.concatenate([column.probability for column in columns])
    yes_votes = np.concatenate([column.yes_votes for column in columns])
    num_votes = np.concatenate([column.num_votes for column in columns])
    return Rated(probability, yes_votes, num_votes, usual_num_votes=_commonest(num_votes))


def _values(metric: Metric, columns: Sequence[Rated], criteria: Sequence[str]) -> dict[str, float]:
    """Criterion -> value, for the criteria that define it."""
    if metric.pooled:
        return {}
    values = {
        criterion: metric.value(column)
        for criterion, column in zip(criteria, columns, strict=True)
        if len(column.probability)
    }
    return {criterion: value for criterion, value in values.items() if value is not None}


def _summary(metric: Metric, values: Sequence[float], pooled: Rated) -> dict[str, float]:
    if not metric.summary or not len(pooled.probability):
        return {}
    value = metric.value(pooled) if metric.pooled else float(np.mean(values)) if values else None
    return {} if value is None else {metric.summary: value}


def _threshold(column: Rated) -> float:
    order = np.argsort(column.probability)
    probability, yes = column.probability[order], column.yes[order]
    last_below = np.flatnonzero(np.diff(probability))
    if not column.has_both_classes or not len(last_below):
        return 0.5
    cuts = (probability[last_below] + probability[last_below + 1]) / 2
    below, yes_below, num_yes = last_below + 1, np.cumsum(yes)[last_below], np.count_nonzero(yes)
    f1_yes = f1(num_yes - yes_below, num_yes, len(yes) - below)
    f1_no = f1(below - yes_below, len(yes) - num_yes, below)
    mean_f1 = (f1_yes + f1_no) / 2
    standard_error = np.sqrt(mean_f1.max() * (1 - mean_f1.max()) / len(yes))
    return shrunk_choice(cuts, mean_f1, standard_error)


def _commonest(num_votes: FloatArray) -> int:
    values, counts = np.unique(num_votes, return_counts=True)
    return int(values[np.argmax(counts)]) if len(values) else 0

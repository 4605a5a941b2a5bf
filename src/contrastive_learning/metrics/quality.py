"""Metrics of probabilities against votes.

A response is a "yes" where more than half of its votes are, so a tie is a "no". A response without votes on a
criterion takes no part in anything of that criterion. What a split does not define is left out, never NaN: the keys
depend on the votes alone, so that they are the same for every model.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr
from sklearn.metrics import average_precision_score

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MAX_BINS = 10
MIN_BIN_SIZE = 5
PROBABILITY_FLOOR = 1e-7  # a saturated fp32 sigmoid is exactly 0 or 1

MEANS = {  # mean over the criteria that have the metric
    "macro_f1": "f1",
    "macro_f1_at_half": "f1_at_half",
    "auroc": "auroc",
    "ap_yes": "ap_yes",
    "ap_no": "ap_no",
    "brier": "brier",
    "ece": "ece",
    "excess_bce": "excess_bce",
    "rank_agreement": "rank_agreement",
    "votes_in_order": "votes_in_order",
    "borderline/macro_f1": "borderline_f1",
    "borderline/detection_auroc": "borderline_detection_auroc",
}
PER_CRITERION = ("f1", "f1_yes", "f1_no", "auroc", "ap_yes", "ap_no", "brier", "ece", "rank_agreement")


class Reliability(NamedTuple):
    """A reliability curve, one entry for each bin that is not empty."""

    mean_probability: FloatArray
    vote_share: FloatArray
    size: NDArray[np.int64]


class _Judged(NamedTuple):
    """The responses that were judged on one criterion, each array [judged]."""

    probability: FloatArray
    yes_votes: FloatArray
    num_votes: FloatArray

    @property
    def share(self) -> FloatArray:
        return self.yes_votes / self.num_votes

    @property
    def yes(self) -> BoolArray:
        return 2 * self.yes_votes > self.num_votes

    @property
    def split(self) -> BoolArray:
        return (self.yes_votes > 0) & (self.yes_votes < self.num_votes)

    @property
    def has_both_classes(self) -> bool:
        return 0 < int(np.count_nonzero(self.yes)) < len(self.yes)

    def where(self, mask: BoolArray) -> "_Judged":
        return _Judged(self.probability[mask], self.yes_votes[mask], self.num_votes[mask])


def choose_thresholds(probabilities: ArrayLike, yes_votes: ArrayLike, num_votes: ArrayLike) -> FloatArray:
    """The threshold of each criterion [criteria] for a good mean of F1(yes) and F1(no); "yes" is p > threshold.

    The best cut of a small set is mostly luck. So each cut between neighbouring probabilities gets the weight
    exp((F1 - best F1) / SE), SE = sqrt(best F1 (1 - best F1) / responses), and the threshold is the weighted mean.
    On simulated sets this about halves what the plain best cut loses on new data. A criterion with one class, or
    with one probability for all, keeps 0.5.
    """
    columns = _by_criterion(probabilities, yes_votes, num_votes)
    return np.array([_threshold(column) for column in columns], dtype=np.float64)


def quality_metrics(
    probabilities: ArrayLike,
    yes_votes: ArrayLike,
    num_votes: ArrayLike,
    criteria: Sequence[str],
    thresholds: ArrayLike,
) -> dict[str, float]:
    """Metrics of probabilities [responses, criteria] against votes of the same shape; thresholds: [criteria].

    `<metric>/<criterion>` each, and as means over criteria:
    - `macro_f1`: of the mean of F1(yes) and F1(no), over the criteria that have both classes (their number is
      `criteria_with_both_classes`), at the thresholds; `macro_f1_at_half` at 0.5.
    - `auroc`, `ap_yes`, `ap_no`: also over the criteria with both classes; "no" is usually the rare class.
    - `brier`: mean of (p - k/n)^2 - k(n-k) / (n^2 (n-1)) for k of n votes, unbiased for (p - pi)^2 with pi the
      chance of a yes vote, so it can be negative. One vote says nothing about its noise: responses with one vote
      count only where a criterion has no others, and then uncorrected.
    - `ece`: mean |mean p - mean vote share| of bins of equal size, the noise of each bin taken off.
    - `excess_bce`: cross-entropy with the vote shares above the entropy of the shares, in nats.
    - `rank_agreement`: Somers' D of p given the vote share, 1 where every larger share has the larger p.
    - `votes_in_order`: share of criteria where mean p rises with every further yes vote, among the responses with
      the commonest number of votes; their means over all criteria are `mean_probability/votes_<k>_of_<n>`.
    - `borderline/...`: responses with split votes. `share` of them; `brier` against the share, uncorrected, since
      being selected by their votes biases the correction; `macro_f1`; and `detection_auroc`, how well closeness to
      0.5 tells them from unanimous ones. `brier` and `share` are over all votes, not a mean over criteria.
    """
    columns = _by_criterion(probabilities, yes_votes, num_votes)
    thresholds = np.asarray(thresholds, dtype=np.float64)
    if not len(columns) == len(criteria) == len(thresholds):
        raise ValueError(
            "probabilities, criteria and thresholds must have as many criteria each, "
            f"got {len(columns)}, {len(criteria)} and {len(thresholds)}"
        )
    everything = _Judged(*(np.concatenate(parts) for parts in zip(*columns, strict=True)))
    commonest = _commonest(everything.num_votes)
    by_criterion = {
        criterion: _criterion_metrics(column, float(threshold)) | _votes_in_order(column, commonest)
        for criterion, column, threshold in zip(criteria, columns, thresholds, strict=True)
    }
    metrics = {"criteria_with_both_classes": float(sum(column.has_both_classes for column in columns))}
    for mean, name in MEANS.items():
        values = [found[name] for found in by_criterion.values() if name in found]
        if values:
            metrics[mean] = float(np.mean(values))
    metrics |= _borderline(everything)
    for votes, mean_probability in _means_by_votes(everything, commonest).items():
        metrics[f"mean_probability/votes_{votes}_of_{commonest}"] = mean_probability
    for criterion, found in by_criterion.items():
        metrics |= {f"{name}/{criterion}": found[name] for name in PER_CRITERION if name in found}
    return metrics


def reliability(
    probabilities: ArrayLike, yes_votes: ArrayLike, num_votes: ArrayLike, bins: int = MAX_BINS
) -> Reliability:
    """Mean probability against mean vote share in bins of equal size, over all judged entries of any shape.

    Equal probabilities share a bin.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    column = _judged(*(np.asarray(values).reshape(-1) for values in (probabilities, yes_votes, num_votes)))
    bin_of = _bins(column.probability, bins)
    size = np.bincount(bin_of, minlength=bins)
    filled = size > 0
    mean_probability = np.bincount(bin_of, column.probability, bins)[filled] / size[filled]
    vote_share = np.bincount(bin_of, column.share, bins)[filled] / size[filled]
    return Reliability(mean_probability, vote_share, size[filled])


def f1_of_both(yes: BoolArray, predicted: BoolArray) -> tuple[float, float]:
    """F1(yes) and F1(no) of predictions [responses]; 0 for a class that is neither there nor predicted."""
    f1_yes = _f1(np.count_nonzero(yes & predicted), np.count_nonzero(yes), np.count_nonzero(predicted))
    f1_no = _f1(np.count_nonzero(~yes & ~predicted), np.count_nonzero(~yes), np.count_nonzero(~predicted))
    return float(f1_yes), float(f1_no)


def _f1(hits: Any, actual: Any, predicted: Any) -> Any:
    return 2 * hits / np.maximum(actual + predicted, 1)


def _by_criterion(probabilities: ArrayLike, yes_votes: ArrayLike, num_votes: ArrayLike) -> list[_Judged]:
    arrays = [np.asarray(values) for values in (probabilities, yes_votes, num_votes)]
    shapes = [array.shape for array in arrays]
    if len(shapes[0]) != 2 or shapes.count(shapes[0]) != 3 or not shapes[0][1]:
        raise ValueError(f"probabilities and votes must be [responses, criteria], got {shapes}")
    return [_judged(*(array[:, column] for array in arrays)) for column in range(shapes[0][1])]


def _judged(probability: NDArray[Any], yes_votes: NDArray[Any], num_votes: NDArray[Any]) -> _Judged:
    judged = num_votes > 0
    column = _Judged(*(values[judged].astype(np.float64) for values in (probability, yes_votes, num_votes)))
    in_range = (column.probability >= 0) & (column.probability <= 1)  # False for NaN
    if not in_range.all():
        raise ValueError(f"probabilities must lie in 0..1, got {column.probability[~in_range][0]:g}")
    # a share times a number of votes is off by an fp32 rounding; k stays k
    column = column._replace(yes_votes=column.yes_votes.round(5))
    possible = (column.yes_votes >= 0) & (column.yes_votes <= column.num_votes)
    if not possible.all():
        raise ValueError(
            "yes_votes must lie in 0..num_votes, "
            f"got {column.yes_votes[~possible][0]:g} of {column.num_votes[~possible][0]:g}"
        )
    return column


def _threshold(column: _Judged) -> float:
    order = np.argsort(column.probability)
    probability, yes = column.probability[order], column.yes[order]
    last_below = np.flatnonzero(np.diff(probability))
    if not column.has_both_classes or not len(last_below):
        return 0.5
    cuts = (probability[last_below] + probability[last_below + 1]) / 2
    below, yes_below, num_yes = last_below + 1, np.cumsum(yes)[last_below], np.count_nonzero(yes)
    f1_yes = _f1(num_yes - yes_below, num_yes, len(yes) - below)
    f1_no = _f1(below - yes_below, len(yes) - num_yes, below)
    f1 = (f1_yes + f1_no) / 2
    standard_error = np.sqrt(f1.max() * (1 - f1.max()) / len(yes))
    weight = np.exp((f1 - f1.max()) / max(standard_error, 1e-9))
    return float((weight * cuts).sum() / weight.sum())


def _criterion_metrics(column: _Judged, threshold: float) -> dict[str, float]:
    if not len(column.probability):
        return {}
    metrics = {"brier": _brier(column), "ece": _ece(column), "excess_bce": _excess_bce(column)}
    if np.ptp(column.share) > 0:
        metrics["rank_agreement"] = _somers_d(column.probability, column.share)
    if column.split.any() and not column.split.all():
        confidence = np.abs(column.probability - 0.5)
        metrics["borderline_detection_auroc"] = (1 + _somers_d(-confidence, column.split)) / 2
    split = column.where(column.split)
    if split.has_both_classes:
        metrics["borderline_f1"] = float(np.mean(f1_of_both(split.yes, split.probability > threshold)))
    if column.has_both_classes:
        f1_yes, f1_no = f1_of_both(column.yes, column.probability > threshold)
        metrics |= {"f1": (f1_yes + f1_no) / 2, "f1_yes": f1_yes, "f1_no": f1_no}
        metrics["f1_at_half"] = float(np.mean(f1_of_both(column.yes, column.probability > 0.5)))
        metrics["auroc"] = (1 + _somers_d(column.probability, column.yes)) / 2
        metrics["ap_yes"] = float(average_precision_score(column.yes, column.probability))
        metrics["ap_no"] = float(average_precision_score(~column.yes, -column.probability))
    return metrics


def _brier(column: _Judged) -> float:
    if (column.num_votes >= 2).any():
        column = column.where(column.num_votes >= 2)
        vote_noise = column.share * (1 - column.share) / (column.num_votes - 1)
    else:
        vote_noise = np.zeros_like(column.share)
    return float(np.mean((column.probability - column.share) ** 2 - vote_noise))


def _ece(column: _Judged) -> float:
    """The squared gap of a bin exceeds its expectation by the variance of its mean (Kumar et al. 2019)."""
    residual = column.share - column.probability
    bin_of = _bins(column.probability, min(MAX_BINS, max(1, len(residual) // MIN_BIN_SIZE)))
    size = np.maximum(np.bincount(bin_of), 1)
    gap = np.bincount(bin_of, residual) / size
    variance = np.bincount(bin_of, (residual - gap[bin_of]) ** 2) / np.maximum(size - 1, 1) / size
    return float((size * np.sqrt(np.maximum(gap**2 - variance, 0))).sum() / len(residual))


def _bins(probability: FloatArray, bins: int) -> NDArray[np.int64]:
    """The bin of each probability, as many in each as equal probabilities allow."""
    num_smaller = np.searchsorted(np.sort(probability), probability)
    bin_of: NDArray[np.int64] = bins * num_smaller // max(len(probability), 1)
    return bin_of


def _excess_bce(column: _Judged) -> float:
    probability = column.probability.clip(PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return float(np.mean(rel_entr(column.share, probability) + rel_entr(1 - column.share, 1 - probability)))


def _somers_d(scores: FloatArray, levels: NDArray[Any]) -> float:
    """(concordant - discordant) / pairs of different level; levels [responses] must not be all equal.

    Two levels give 2 AUROC - 1. Sorting each level beats scikit-learn's and SciPy's functions more than tenfold.
    """
    difference = num_pairs = 0
    lower = scores[:0]
    for level in np.unique(levels):
        own = scores[levels == level]
        below, not_above = (np.searchsorted(lower, own, side).sum() for side in ("left", "right"))
        difference += below + not_above - len(lower) * len(own)
        num_pairs += len(lower) * len(own)
        lower = np.sort(np.concatenate([lower, own]))
    return float(difference / num_pairs)


def _borderline(everything: _Judged) -> dict[str, float]:
    if not len(everything.probability):
        return {}
    metrics = {"borderline/share": float(np.mean(everything.split))}
    split = everything.where(everything.split)
    if len(split.probability):
        metrics["borderline/brier"] = float(np.mean((split.probability - split.share) ** 2))
    return metrics


def _commonest(num_votes: FloatArray) -> int:
    values, counts = np.unique(num_votes, return_counts=True)
    return int(values[np.argmax(counts)]) if len(values) else 0


def _means_by_votes(column: _Judged, num_votes: int) -> dict[int, float]:
    """Mean probability of the responses with k of `num_votes` yes votes, for each k that occurs, ascending."""
    column = column.where(column.num_votes == num_votes)
    groups = {votes: column.probability[column.yes_votes == votes] for votes in range(num_votes + 1)}
    return {votes: float(group.mean()) for votes, group in groups.items() if len(group)}


def _votes_in_order(column: _Judged, num_votes: int) -> dict[str, float]:
    means = list(_means_by_votes(column, num_votes).values())
    return {"votes_in_order": float(np.all(np.diff(means) > 0))} if len(means) > 1 else {}

"""The table of quality metrics: to add one, add its function and its row in METRICS, and nothing elsewhere."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

from contrastive_learning.metrics.rated import BoolArray, FloatArray, Rated, bins_of, brier_terms, f1_of_both

MAX_BINS = 10
MIN_BIN_SIZE = 5
PROBABILITY_FLOOR = 1e-7  # a saturated fp32 sigmoid is exactly 0 or 1


class Metric(NamedTuple):
    """One row: how a metric is computed, under which names it is reported, and in which tables it is shown."""

    summary: str  # name of the value for a whole split, without the split's prefix; empty: not reported
    value: Callable[[Rated], float | None]  # None: undefined, which only the votes decide, never the probabilities
    direction: Literal["maximize", "minimize"]
    per_criterion: str = ""  # the value for a criterion is reported as <per_criterion>/<criterion>; empty: it is not
    pooled: bool = False  # the summary is the value over the votes of all criteria, else the mean over the criteria
    in_results: bool = False  # the table that is printed after a run has a row with the summary
    label: str = ""  # what the report of a sweep calls the summary; empty: it has no row for it


def _f1(rated: Rated) -> float | None:
    """Mean of F1(yes) and F1(no) at the threshold; if most responses are good, a high F1(yes) is nearly free."""
    if not rated.has_both_classes:
        return None
    f1_yes, f1_no = f1_of_both(rated.yes, rated.predicted)
    return (f1_yes + f1_no) / 2


def _f1_yes(rated: Rated) -> float | None:
    return f1_of_both(rated.yes, rated.predicted)[0] if rated.has_both_classes else None


def _f1_no(rated: Rated) -> float | None:
    return f1_of_both(rated.yes, rated.predicted)[1] if rated.has_both_classes else None


def _f1_at_half(rated: Rated) -> float | None:
    return _f1(rated._replace(threshold=0.5))


def _auroc(rated: Rated) -> float | None:
    return (1 + _somers_d(rated.probability, rated.yes)) / 2 if rated.has_both_classes else None


def _ap_yes(rated: Rated) -> float | None:
    """Average precision of finding the responses with a "yes"."""
    return _average_precision(rated.yes, rated.probability) if rated.has_both_classes else None


def _ap_no(rated: Rated) -> float | None:
    """Average precision of finding the responses with a "no", usually the rare class."""
    return _average_precision(~rated.yes, -rated.probability) if rated.has_both_classes else None


def _average_precision(is_wanted: BoolArray, scores: FloatArray) -> float:
    """scikit-learn's, without the checks that take most of its time: the mean of the precisions at all wanted ones,
    each with those of an equal score.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # the last of each score
    found = np.cumsum(is_wanted[order])[ends]
    return float(np.diff(found, prepend=0) @ (found / (ends + 1)) / found[-1])


def _brier(rated: Rated) -> float:
    """The mean of `brier_terms`: unbiased for (p - pi)^2, pi the chance of a yes vote, so it can be negative."""
    return float(np.mean(brier_terms(rated)))


def _borderline_f1(rated: Rated) -> float | None:
    """F1 of the responses with split votes."""
    return _f1(rated.only(rated.split))


def _borderline_auroc(rated: Rated) -> float | None:
    """How well the probability tells a split majority of yes from one of no, 2:1 from 1:2; ties take no part."""
    return _auroc(rated.only(rated.split & (2 * rated.yes_votes != rated.num_votes)))


def _borderline_detection_auroc(rated: Rated) -> float | None:
    """How well closeness of the probability to 0.5 tells split votes from unanimous ones."""
    if not rated.split.any() or rated.split.all():
        return None
    confidence = np.abs(rated.probability - 0.5)
    return (1 + _somers_d(-confidence, rated.split)) / 2


def _borderline_brier(rated: Rated) -> float | None:
    """Brier score of split votes, uncorrected: that votes selected the responses would bias the correction."""
    split = rated.only(rated.split)
    return float(np.mean((split.probability - split.share) ** 2)) if len(split.probability) else None


def _ece(rated: Rated) -> float:
    """Mean |mean p - mean vote share| of bins of equal size, without the noise of each bin.

    The squared gap of a bin exceeds its expectation by the variance of its mean (Kumar et al. 2019).
    """
    residual = rated.share - rated.probability
    bin_of = bins_of(rated.probability, min(MAX_BINS, max(1, len(residual) // MIN_BIN_SIZE)))
    size = np.maximum(np.bincount(bin_of), 1)
    gap = np.bincount(bin_of, residual) / size
    variance = np.bincount(bin_of, (residual - gap[bin_of]) ** 2) / np.maximum(size - 1, 1) / size
    return float((size * np.sqrt(np.maximum(gap**2 - variance, 0))).sum() / len(residual))


def _excess_bce(rated: Rated) -> float:
    """Cross-entropy with the vote shares minus the entropy of the shares, in nats."""
    probability = rated.probability.clip(PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return float(np.mean(rel_entr(rated.share, probability) + rel_entr(1 - rated.share, 1 - probability)))


def _rank_agreement(rated: Rated) -> float | None:
    """Somers' D of p given the vote share: 1 if every larger share has the larger p."""
    return _somers_d(rated.probability, rated.share) if np.ptp(rated.share) > 0 else None


def _votes_in_order(rated: Rated) -> float | None:
    """Whether mean p rises with every further yes vote; the mean over criteria is the share of criteria."""
    means = list(means_by_votes(rated).values())
    return float(np.all(np.diff(means) > 0)) if len(means) > 1 else None


def means_by_votes(rated: Rated) -> dict[int, float]:
    """Yes votes -> mean probability, ascending, of the responses with the usual number of votes."""
    usual = rated.only(rated.num_votes == rated.usual_num_votes)
    groups = {votes: usual.probability[usual.yes_votes == votes] for votes in range(rated.usual_num_votes + 1)}
    return {votes: float(group.mean()) for votes, group in groups.items() if len(group)}


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


METRICS = (
    Metric("macro_f1", _f1, "maximize", per_criterion="f1", label="macro F1"),
    Metric("", _f1_yes, "maximize", per_criterion="f1_yes"),
    Metric("", _f1_no, "maximize", per_criterion="f1_no"),
    Metric("macro_f1_at_half", _f1_at_half, "maximize"),
    Metric("auroc", _auroc, "maximize", per_criterion="auroc"),
    Metric("ap_yes", _ap_yes, "maximize", per_criterion="ap_yes"),
    Metric("ap_no", _ap_no, "maximize", per_criterion="ap_no"),
    Metric("brier", _brier, "minimize", per_criterion="brier", in_results=True),
    Metric("borderline/macro_f1", _borderline_f1, "maximize", label="macro F1 on split votes"),
    Metric("borderline/auroc", _borderline_auroc, "maximize", in_results=True, label="AUROC of 2:1 against 1:2 votes"),
    Metric("borderline/detection_auroc", _borderline_detection_auroc, "maximize"),
    Metric("borderline/brier", _borderline_brier, "minimize", pooled=True, label="Brier on split votes"),
    Metric("ece", _ece, "minimize", per_criterion="ece", label="calibration error"),
    Metric("excess_bce", _excess_bce, "minimize"),
    Metric("rank_agreement", _rank_agreement, "maximize", per_criterion="rank_agreement", in_results=True),
    Metric("votes_in_order", _votes_in_order, "maximize"),
)
# what the name of a metric of a held-out split begins with, after the split's prefix
FAMILIES = frozenset(
    [
        *(name.split("/")[0] for metric in METRICS for name in (metric.summary, metric.per_criterion) if name),
        *("brier_of_vote_share", "criteria_with_both_classes", "embedding", "linear", "mean_probability"),
    ]
)

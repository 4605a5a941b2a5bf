"""Probabilities with the votes that they are compared to: checked, and without the responses that have no votes."""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


class Rated(NamedTuple):
    """The responses that have votes on one criterion, or those of all criteria in one row; each array [responses]."""

    probability: FloatArray
    yes_votes: FloatArray
    num_votes: FloatArray
    threshold: float = 0.5  # the model says yes above it
    usual_num_votes: int = 0  # the commonest number of votes in the whole split

    @property
    def share(self) -> FloatArray:
        return self.yes_votes / self.num_votes

    @property
    def yes(self) -> BoolArray:
        return 2 * self.yes_votes > self.num_votes

    @property
    def predicted(self) -> BoolArray:
        return self.probability > self.threshold

    @property
    def split(self) -> BoolArray:
        """Whether the votes of a response differ."""
        return (self.yes_votes > 0) & (self.yes_votes < self.num_votes)

    @property
    def has_both_classes(self) -> bool:
        return 0 < int(np.count_nonzero(self.yes)) < len(self.yes)

    def only(self, mask: BoolArray) -> Self:
        """The responses that `mask` [responses] selects."""
        return self._replace(
            probability=self.probability[mask], yes_votes=self.yes_votes[mask], num_votes=self.num_votes[mask]
        )


def per_criterion(probabilities: ArrayLike, yes_votes: ArrayLike, num_votes: ArrayLike) -> list[Rated]:
    """Each array [responses, criteria]. Raises ValueError for other shapes and impossible values."""
    arrays = [np.asarray(values) for values in (probabilities, yes_votes, num_votes)]
    shapes = [array.shape for array in arrays]
    if len(shapes[0]) != 2 or shapes.count(shapes[0]) != 3 or not shapes[0][1]:
        raise ValueError(f"probabilities and votes must be [responses, criteria], got {shapes}")
    return [rated(*(array[:, column] for array in arrays)) for column in range(shapes[0][1])]


def rated(probability: NDArray[Any], yes_votes: NDArray[Any], num_votes: NDArray[Any]) -> Rated:
    """Each array [responses]; those with 0 votes are left out. Raises ValueError for impossible values."""
    has_votes = num_votes > 0
    probability, yes_votes, num_votes = (
        values[has_votes].astype(np.float64) for values in (probability, yes_votes, num_votes)
    )
    # a share times a number of votes is off by an fp32 rounding; k stays k
    column = Rated(probability, yes_votes.round(5), num_votes)
    in_range = (column.probability >= 0) & (column.probability <= 1)  # False for NaN
    if not in_range.all():
        raise ValueError(f"probabilities must lie in 0..1, got {column.probability[~in_range][0]:g}")
    possible = (column.yes_votes >= 0) & (column.yes_votes <= column.num_votes)
    if not possible.all():
        raise ValueError(
            "yes_votes must lie in 0..num_votes, "
            f"got {column.yes_votes[~possible][0]:g} of {column.num_votes[~possible][0]:g}"
        )
    return column


def brier_terms(rated: Rated) -> FloatArray:
    """(p - k/n)^2 - k(n-k) / (n^2 (n-1)) for k of n votes, of each response that counts.

    One vote says nothing about its noise: responses with one vote count only if a criterion has no others, and then
    without the correction.
    """
    if (rated.num_votes >= 2).any():
        rated = rated.only(rated.num_votes >= 2)
        vote_noise = rated.share * (1 - rated.share) / (rated.num_votes - 1)
    else:
        vote_noise = np.zeros_like(rated.share)
    terms: FloatArray = (rated.probability - rated.share) ** 2 - vote_noise
    return terms


def shrunk_choice(candidates: FloatArray, scores: FloatArray, standard_errors: ArrayLike) -> float:
    """The mean of the candidates, weighted by exp((score - best score) / standard error), higher scores being better.

    What scores best on a small set is partly luck; candidates within its error count almost as much. Each array
    [candidates]; one standard error may hold for all.
    """
    weight = np.exp((scores - scores.max()) / np.maximum(standard_errors, 1e-9))
    return float((weight * candidates).sum() / weight.sum())


def bins_of(probability: FloatArray, bins: int) -> NDArray[np.int64]:
    """The bin of each probability; every bin gets the same number, as far as equal probabilities allow."""
    num_smaller = np.searchsorted(np.sort(probability), probability)
    bin_of: NDArray[np.int64] = bins * num_smaller // max(len(probability), 1)
    return bin_of


def f1_of_both(yes: BoolArray, predicted: BoolArray) -> tuple[float, float]:
    """F1(yes) and F1(no) of predictions [responses]; 0 for a class that neither occurs nor is predicted."""
    f1_yes = f1(np.count_nonzero(yes & predicted), np.count_nonzero(yes), np.count_nonzero(predicted))
    f1_no = f1(np.count_nonzero(~yes & ~predicted), np.count_nonzero(~yes), np.count_nonzero(~predicted))
    return float(f1_yes), float(f1_no)


def f1(hits: Any, actual: Any, predicted: Any) -> Any:
    """F1 of a class from its numbers of hits, members and predictions."""
    return 2 * hits / np.maximum(actual + predicted, 1)

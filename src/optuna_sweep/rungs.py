"""Successive halving with promotion: which trials continue at which rung, from nothing but what they have reported.

A trial that is not among the best of its rung pauses there. It continues as soon as it is: Li et al. 2020, "A System
for Massively Parallel Hyperparameter Tuning" (ASHA), algorithm 2. With `progressive`, no trial continues beyond the
top rung, which rises only while the two highest rungs rank the trials differently: Bohdal et al. 2023, "PASHA:
Efficient HPO and NAS with Progressive Resource Allocation".
"""

import itertools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

NOISE_PERCENTILE = 0.9  # as in PASHA
MOST_COMPARED = 50  # trials whose curves tell how noisy they are, pair by pair: the best

Curve = Mapping[int, float]  # step -> value, the higher the better
Curves = Mapping[int, Curve]  # number of the trial -> its curve


@dataclass(frozen=True)
class Rungs:
    """Rung k is at step min_resource * reduction_factor^k; a trial's value there is the first one from that step on.

    Raises ValueError if min_resource is below 1, or reduction_factor below 2.

    >>> rungs = Rungs(min_resource=1, reduction_factor=3)
    >>> [rungs.step(rung) for rung in range(4)]
    [1, 3, 9, 27]
    >>> curves = {0: {1: 0.5}, 1: {1: 0.7}, 2: {1: 0.6}}
    >>> rungs.continues(curves, 2), rungs.next_promoted(curves, [0, 1, 2])  # one of three may continue: the best
    (False, 1)
    """

    min_resource: int = 1
    reduction_factor: int = 3
    progressive: bool = False

    def __post_init__(self) -> None:
        for name, value, least in (
            ("min_resource", self.min_resource, 1),
            ("reduction_factor", self.reduction_factor, 2),
        ):
            if value < least:
                raise ValueError(f"hydra.sweeper.pruner.{name} must be at least {least}, got {value}")

    def step(self, rung: int) -> int:
        step: int = self.min_resource * self.reduction_factor**rung
        return step

    def reached(self, curve: Curve) -> int | None:
        """The highest rung that the trial has reached; None below the first."""
        last = max(curve, default=0)
        rungs = itertools.takewhile(lambda rung: self.step(rung) <= last, itertools.count())
        return max(rungs, default=None)

    def is_at_rung(self, curve: Curve) -> bool:
        """Whether the last report is the first one at or above a rung: there it is decided whether the trial pauses."""
        before = {step: value for step, value in curve.items() if step < max(curve)}
        return self.reached(curve) != self.reached(before)

    def continues(self, curves: Curves, number: int) -> bool:
        """Whether the trial need not pause at the rung that it has reached."""
        rung = self.reached(curves[number])
        return rung is None or (self._is_open(curves, rung) and number in self._best(curves, rung))

    def next_promoted(self, curves: Curves, paused: Collection[int]) -> int | None:
        """Which of the paused trials is to continue next, the highest rung first; None if none may."""
        rungs = {number: rung for number in paused if (rung := self.reached(curves[number])) is not None}
        for rung in sorted(set(rungs.values()), reverse=True):
            if self._is_open(curves, rung):
                found = [number for number in self._best(curves, rung) if rungs.get(number) == rung]
                if found:
                    return found[0]
        return None

    def ranked(self, curves: Curves, paused: Collection[int]) -> list[int]:
        """The paused trials, the most promising first: by the rung that they reached, then by their value there."""
        return sorted(paused, key=lambda number: self._promise(curves[number], number))

    def top_rung(self, curves: Curves) -> int | None:
        """The rung that no trial may leave; None if there is none."""
        if not self.progressive:
            return None
        return next(rung for rung in itertools.count(1) if not self._rank_differently(curves, rung))

    def num_at_rungs(self, curves: Curves) -> list[int]:
        """How many trials have reached each rung, up to the highest that one has.

        >>> Rungs(min_resource=1, reduction_factor=3).num_at_rungs({0: {1: 0.5}, 1: {1: 0.7, 3: 0.8}, 2: {}})
        [2, 1]
        """
        reached = [rung for curve in curves.values() if (rung := self.reached(curve)) is not None]
        return [sum(rung >= each for rung in reached) for each in range(max(reached, default=-1) + 1)]

    def expected_steps(self, num_trials: int, whole: int | None, top: int | None = None) -> tuple[int, int]:
        """How many steps `num_trials` trials take in all, and how many come to their end: at least one does.

        whole: steps of one that does; None if it is not known: then no more than the rule lets them take. top: the rung
        that no trial leaves but the one that comes to its end.

        >>> Rungs(min_resource=1, reduction_factor=3).expected_steps(27, 27)  # 27 x 1, 9 x 2, 3 x 6 and 1 x 18
        (81, 1)
        """
        steps, before, reached = 0, 0, max(1, num_trials)
        for rung in itertools.count():
            step = self.step(rung) if whole is None else min(self.step(rung), whole)
            steps += reached * (step - before)
            continuing = 0 if rung == top else reached // self.reduction_factor
            if step == whole or (whole is None and continuing == 0):
                return steps, reached
            before, reached = step, max(1, continuing)
        raise AssertionError("rungs have no end")

    def observed(self, curves: Curves, enough: int) -> dict[int, float]:
        """What a sampler may compare: values at the highest rung that `enough` trials have reached, else at the first.

        Falkner et al. 2018, "BOHB: Robust and Efficient Hyperparameter Optimization at Scale".
        """
        highest = max((rung for curve in curves.values() if (rung := self.reached(curve)) is not None), default=0)
        by_rung = [self._values(curves, rung) for rung in range(highest + 1)]
        return next((values for values in by_rung[::-1] if len(values) >= enough), by_rung[0])

    def _promise(self, curve: Curve, number: int) -> tuple[int, float, int]:
        rung = self.reached(curve)
        return (1, 0.0, number) if rung is None else (-rung, -self._value(curve, rung), number)

    def _is_open(self, curves: Curves, rung: int) -> bool:
        top = self.top_rung(curves)
        return top is None or rung < top

    def _best(self, curves: Curves, rung: int) -> list[int]:
        """The best 1/reduction_factor of the trials that have reached the rung, best first."""
        values = self._values(curves, rung)
        return _ranked(values)[: len(values) // self.reduction_factor]

    def _values(self, curves: Curves, rung: int) -> dict[int, float]:
        step = self.step(rung)
        return {number: self._value(curve, rung) for number, curve in curves.items() if max(curve, default=0) >= step}

    def _value(self, curve: Curve, rung: int) -> float:
        value = curve[min(step for step in curve if step >= self.step(rung))]
        return -math.inf if math.isnan(value) else value

    def _rank_differently(self, curves: Curves, rung: int) -> bool:
        """Whether the trials of the rung are ranked otherwise than by the rung below, by more than noise explains.

        PASHA's soft ranking: the trial at each place must be within the noise of the one that has that place below.
        """
        above = _ranked(self._values(curves, rung))
        values = self._values({number: curves[number] for number in above}, rung - 1)
        below = _ranked(values)
        noise = self._noise([curves[number] for number in above[:MOST_COMPARED]], self.step(rung))
        return any(abs(values[a] - values[b]) > noise for a, b in zip(above, below, strict=True) if a != b)

    def _noise(self, curves: Collection[Curve], last: int) -> float:
        """How far apart two trials are that only noise ranks: of pairs that have swapped their order and swapped back,
        the 90th percentile of the difference at the end; 0 without such pairs.
        """
        swapped = sorted(filter(None, (_gap_of_swapped(*pair, last) for pair in itertools.combinations(curves, 2))))
        return swapped[math.ceil(NOISE_PERCENTILE * len(swapped)) - 1] if swapped else 0.0


def _gap_of_swapped(one: Curve, other: Curve, last: int) -> float:
    """The difference of two curves at their last common step up to `last`; 0 unless the order has changed twice."""
    differences = [one[step] - other[step] for step in sorted(one.keys() & other.keys()) if step <= last]
    signs = [difference > 0 for difference in differences if difference]
    changes = sum(before != after for before, after in itertools.pairwise(signs))
    return abs(differences[-1]) if changes >= 2 else 0.0


def _ranked(values: Mapping[int, float]) -> list[int]:
    """Best first; of equal ones the trial that began first."""
    return sorted(values, key=lambda number: (-values[number], number))

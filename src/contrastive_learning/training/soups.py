"""A greedy soup: the weights of several runs averaged while that does not hurt (Wortsman et al. 2022).

Wortsman et al. 2022: https://arxiv.org/abs/2203.05482
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]  # a state dict


@dataclass(frozen=True)
class Soup:
    """Which of the candidates are averaged, and the score of their average; the first candidate is always one."""

    members: tuple[int, ...]  # positions among the candidates
    score: float
    best_single: float  # the score of the first candidate by itself


def greedy_soup(candidates: Sequence[Weights], score: Callable[[Weights], float], *, maximize: bool) -> Soup:
    """Begin with the first candidate, and take in each next one if the average is then scored at least as high.

    Candidates come best first. Raises ValueError if their weights have other names or shapes than those of the first.

    >>> weights = [{"w": torch.tensor([value])} for value in (1.0, 6.0, 3.0)]
    >>> greedy_soup(weights, lambda mean: -abs(mean["w"].item() - 2), maximize=True)  # (1 + 3) / 2 fits best
    Soup(members=(0, 2), score=-0.0, best_single=-1.0)
    """
    for candidate in candidates[1:]:
        _check_alike(candidates[0], candidate)
    sign = 1 if maximize else -1
    members, best = [0], score(candidates[0])
    single = best
    for position in range(1, len(candidates)):
        found = score(averaged([candidates[each] for each in (*members, position)]))
        if sign * found >= sign * best:
            members.append(position)
            best = found
    return Soup(tuple(members), best, single)


def averaged(members: Sequence[Weights]) -> dict[str, Tensor]:
    """The plain mean of each floating-point tensor; the others are those of the first member."""
    return {
        name: torch.stack([member[name].double() for member in members]).mean(0).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in members[0].items()
    }


def alike(first: Weights, other: Weights) -> bool:
    """Whether both have the same names and shapes."""
    return {name: value.shape for name, value in first.items()} == {name: value.shape for name, value in other.items()}


def _check_alike(first: Weights, other: Weights) -> None:
    if not alike(first, other):
        raise ValueError("weights that are averaged must have the same names and shapes")

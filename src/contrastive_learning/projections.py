"""How criteria share an embedding: all in one space ("shared"), or each in a slice of its own ("per_criterion")."""

from itertools import pairwise

PROJECTIONS = ("shared", "per_criterion")


def own_slices(dim: int, num_criteria: int) -> list[slice]:
    """The slice of an embedding of `dim` numbers that belongs to each criterion: equal parts, the first ones longer
    by 1 if there is a remainder.

    Raises ValueError for fewer than 2 dimensions per criterion: on a line, unit vectors can only be equal or opposite.

    >>> own_slices(7, 3)
    [slice(0, 3, None), slice(3, 5, None), slice(5, 7, None)]
    """
    if dim < 2 * num_criteria:
        raise ValueError(
            f"loss.contrastive.projection=per_criterion needs at least 2 dimensions per criterion, "
            f"got {dim} for {num_criteria} criteria"
        )
    size, remainder = divmod(dim, num_criteria)
    ends = [size * number + min(number, remainder) for number in range(num_criteria + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]

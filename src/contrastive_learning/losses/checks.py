"""What the losses on embeddings accept, checked where the values are used."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_put_off: ContextVar[list[Tensor] | None] = ContextVar("put_off", default=None)  # flags, see `checks_put_off`


class NotFiniteError(ValueError):
    """Some embeddings are NaN or inf, or their norms are; `rows` of the batch are those."""

    def __init__(self, rows: list[int], batch_size: int) -> None:
        super().__init__(f"embeddings must be finite, got NaN or inf in {len(rows)} of {batch_size} rows: {rows[:8]}")
        self.rows = rows


def check_temperature(value: float) -> float:
    if not 0 < value < float("inf"):
        raise ValueError(f"loss.temperature must be positive, got {value}")
    return float(value)


def check_embeddings(embeddings: Tensor, views: int) -> None:
    if embeddings.ndim != 2 or not embeddings.is_floating_point():
        raise ValueError(f"embeddings must be floats [batch, dim], got {embeddings.dtype} {list(embeddings.shape)}")
    if embeddings.numel() == 0:
        raise ValueError(f"embeddings must not be empty, got {list(embeddings.shape)}")
    if views not in (1, 2):
        raise ValueError(f"views must be 1 or 2, got {views}")
    if len(embeddings) % views:
        raise ValueError(f"embeddings must hold two views of each response, got {len(embeddings)} rows")


def check_votes(embeddings: Tensor, yes_votes: Tensor, num_votes: Tensor) -> None:
    if yes_votes.ndim != 2 or yes_votes.shape != num_votes.shape or len(yes_votes) != len(embeddings):
        raise ValueError(
            f"yes_votes and num_votes must both be [{len(embeddings)}, criteria] like the embeddings, "
            f"got {list(yes_votes.shape)} and {list(num_votes.shape)}"
        )


@contextmanager
def checks_put_off() -> Iterator[list[Tensor]]:
    """Within it, what a check of values would wait for the device to read is put into a list, and raises nothing.

    The list holds scalars, False for values that are wrong: read them along with the loss, and call the loss again
    without this, which says what is wrong.

    Example:
        >>> import torch
        >>> from contrastive_learning.losses import InstanceLoss
        >>> with checks_put_off() as fine:
        ...     loss = InstanceLoss(temperature=0.5)(torch.full((4, 2), torch.nan))
        >>> fine
        [tensor(False)]
    """
    flags: list[Tensor] = []
    token = _put_off.set(flags)
    try:
        yield flags
    finally:
        _put_off.reset(token)


def check_norms(norms: Tensor) -> None:
    """norms: [batch, 1]. Waits for the device once."""
    if not _known_fine(norms.amax() < torch.inf):
        raise _not_finite(norms)


def check_norms_and_shares(norms: Tensor, shares: Tensor) -> None:
    """norms: [batch, 1], shares of yes: [batch, criteria]. Waits for the device once: both are read as one flag."""
    wrong_shares = (shares - 0.5).abs() > 0.5
    if not _known_fine((norms.amax() < torch.inf) & ~wrong_shares.any()):
        if wrong_shares.any():
            row, criterion = wrong_shares.nonzero()[0].tolist()
            raise ValueError(
                f"yes_votes must be between 0 and num_votes, got a share of {shares[row, criterion]:.4g} "
                f"in row {row}, criterion {criterion}"
            )
        raise _not_finite(norms)


def _known_fine(flag: Tensor) -> bool:
    """The flag, or True if it is read later."""
    flags = _put_off.get()
    if flags is None:
        return bool(flag)
    flags.append(flag)
    return True


def _not_finite(norms: Tensor) -> NotFiniteError:
    return NotFiniteError((~norms.isfinite()).nonzero()[:, 0].tolist(), len(norms))

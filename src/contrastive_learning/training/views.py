"""Several views of each response in one batch: all rows of the first view, then all of the next.

The views are the same tokens. Dropout makes them differ, as each row of a batch draws a mask of its own, and if wanted
the second view sees only some of the tokens (data/cutoff.py).
"""

import torch
from torch import Tensor

from contrastive_learning.data.batches import Batch
from contrastive_learning.runtime.processes import gather_rows


def repeated(batch: Batch, views: int, second_mask: Tensor | None = None) -> Batch:
    """Each row of the batch once per view. `second_mask`: the attention mask of the second view, if it differs."""
    if views == 1:
        return batch
    masks = batch.attention_mask, batch.attention_mask if second_mask is None else second_mask
    return Batch(
        batch.input_ids.repeat(views, 1),
        torch.cat(masks),
        batch.yes_votes.repeat(views, 1),
        batch.num_votes.repeat(views, 1),
        None if batch.index is None else batch.index.repeat(views),
        None if batch.domains is None else batch.domains.repeat(views),
    )


def gather_views(rows: Tensor, views: int) -> Tensor:
    """The rows [views * batch, ...] of all processes, view by view, within a view in the order of the ranks.

    The views of a response are computed by one process; the numbers of responses may differ. Differentiable.
    """
    if views == 1:
        return gather_rows(rows)
    by_response = rows.reshape(views, -1, *rows.shape[1:]).transpose(0, 1)  # [batch, views, ...]
    return gather_rows(by_response).transpose(0, 1).flatten(0, 1)

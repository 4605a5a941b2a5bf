"""One batch in several passes of the encoder, each of rows of similar length: less padding, less memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from contrastive_learning.by_length import cut_by_length
from contrastive_learning.runtime.devices import sent


@dataclass(frozen=True)
class Pass:  # no named tuple: DistributedDataParallel would move the tensor of one to its GPU, and it is read here
    rows: Tensor  # [rows], which of the batch
    num_tokens: int  # of the longest


def passes_of(
    lengths: Sequence[int], *, max_rows: int | None, max_tokens: int | None, padded: bool = True
) -> list[Pass]:
    """The rows of a batch, cut by `cut_by_length`; lengths: columns that each row needs, see `extents`."""
    parts = cut_by_length(lengths, max_rows=max_rows, max_tokens=max_tokens, padded=padded)
    return [Pass(torch.tensor(rows), lengths[rows[0]]) for rows in parts]


def extents(attention_mask: Tensor) -> Tensor:
    """How many columns of the batch [batch, tokens] each row needs: up to its last token that is seen. [batch]"""
    places = torch.arange(1, attention_mask.shape[1] + 1, device=attention_mask.device)
    return (attention_mask.bool() * places).amax(1)


def encode_in_passes(
    encode: Callable[[Tensor, Tensor], Tensor], input_ids: Tensor, attention_mask: Tensor, passes: Sequence[Pass]
) -> Tensor:
    """encode(input_ids, attention_mask) of all rows, in their order: [batch, hidden].

    input_ids, attention_mask: [batch, tokens].
    """
    pooled = [encode(*cut(each, input_ids, attention_mask)) for each in passes]
    return torch.cat(pooled)[sent(positions(passes), input_ids.device)]


def cut(each: Pass, *columns: Tensor) -> list[Tensor]:
    """The rows of a pass, without the padding that it does not need: [rows, tokens] each."""
    return [column[sent(each.rows, column.device), : each.num_tokens] for column in columns]


def positions(passes: Sequence[Pass]) -> Tensor:
    """Where each row of the batch stands among the rows of all passes: [batch]."""
    return torch.cat([each.rows for each in passes]).argsort()

"""One batch in several passes of the encoder, each of rows of similar length: less padding, less memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from contrastive_learning.runtime.devices import sent


@dataclass(frozen=True)
class Pass:  # no named tuple: DistributedDataParallel would move the tensor of one to its GPU, and it is read here
    rows: Tensor  # [rows], which of the batch
    num_tokens: int  # of the longest


def passes_of(
    lengths: Sequence[int], *, max_rows: int | None, max_tokens: int | None, padded: bool = True
) -> list[Pass]:
    """The rows of a batch from the longest to the shortest, cut so that no pass has more rows or tokens.

    lengths: columns that each row needs, see `extents`. A row longer than `max_tokens` is a pass of its own. padded:
    padding counts as tokens.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    passes: list[list[int]] = [[]]
    real = 0  # tokens of the last pass, without padding
    for row in order:
        rows = len(passes[-1]) + 1
        longest = lengths[(passes[-1] or [row])[0]]
        tokens = rows * longest if padded else real + lengths[row]
        if rows > 1 and (rows > (max_rows or rows) or tokens > (max_tokens or tokens)):
            passes.append([])
            real = 0
        passes[-1].append(row)
        real += lengths[row]
    return [Pass(torch.tensor(rows), lengths[rows[0]]) for rows in passes if rows]


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

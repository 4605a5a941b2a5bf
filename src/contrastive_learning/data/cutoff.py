"""A second view of a response that sees fewer of its tokens, those of the context cut off first (Shen et al. 2020).

Shen et al. 2020: https://arxiv.org/abs/2009.13818; with contrast: CoDA, https://arxiv.org/abs/2010.08670
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def check_share(share: float, views: int) -> None:
    """Raises ValueError if a second view cannot lose this share of its tokens, or there is no second view."""
    if not 0 <= share < 1:
        raise ValueError(f"data.view_cutoff must be at least 0 and less than 1, got {share:g}")
    if share > 0 and views < 2:
        raise ValueError(f"data.view_cutoff={share:g} masks tokens of the second view: set trainer.views=2")


@dataclass(frozen=True, kw_only=True)
class Cutoff:
    """Masks `share` of the tokens that say something; special tokens and the prefix stay.

    The context's tokens are masked first, so that of the response, which is what was judged, never more than `share`
    is. Which tokens they are depends only on seed, epoch and the response's row in its split: not on the batch, the
    process or the pass that it comes in, nor on where a run was resumed.

    Example:
        >>> batch = {"input_ids": torch.tensor([[1, 7, 8, 9, 2, 5, 6, 2]]), "index": torch.tensor([0])}
        >>> batch["attention_mask"] = torch.ones(1, 8)  # [CLS] three of context [SEP] two of response [SEP]
        >>> Cutoff(share=0.6, separator=2, num_start=1, seed=0).second_mask(batch, epoch=0)
        tensor([[1., 0., 0., 0., 1., 1., 1., 1.]])
    """

    share: float  # of the tokens, in 0..1
    separator: int  # the token after each turn of the context and after the response
    num_start: int  # tokens before the context: [CLS] and data.prefix
    seed: int

    def second_mask(self, batch: Mapping[str, Tensor], epoch: int) -> Tensor:
        """The attention mask [batch, tokens] of the second view, on the CPU.

        batch: `input_ids` and `attention_mask` [batch, tokens], and `index` [batch]. Raises ValueError without `index`.
        """
        if "index" not in batch:
            raise ValueError("data.view_cutoff needs batches with `index`, the row of each response in its split")
        input_ids, attention_mask = batch["input_ids"].cpu().numpy(), batch["attention_mask"]
        is_separator = input_ids == self.separator
        says = attention_mask.cpu().numpy().astype(bool) & ~is_separator
        says[:, : self.num_start] = False
        later = np.cumsum(is_separator[:, ::-1], axis=1)[:, ::-1]  # [batch, tokens], separators from here on
        order = self._draws(batch["index"].tolist(), epoch, says.shape[1]) + (later < 2)  # context 0..1, response 1..2
        order[~says] = np.inf
        place = order.argsort(1, kind="stable").argsort(1, kind="stable")
        cut = place < np.floor(self.share * says.sum(1, keepdims=True))
        return attention_mask.masked_fill(torch.from_numpy(cut).to(attention_mask.device), 0)

    def _draws(self, rows: list[int], epoch: int, num_tokens: int) -> NDArray[np.float64]:
        """Numbers in 0..1 [rows, tokens]; those of a row are the same however long the longest row is."""
        return np.stack([np.random.default_rng((self.seed, epoch, row)).random(num_tokens) for row in rows])

"""A BERT that is told which tokens are judged and which of these the context holds."""

from typing import Any

from torch import Tensor
from transformers import BertConfig, BertModel


class SegmentedBert(BertModel):  # type: ignore[misc]  # transformers is untyped here
    """BERT whose token types tell the context (0), the last segment, which is judged (1), and in it the tokens that
    the context holds too (2).

    The last is the exact-match feature of DrQA (Chen et al. 2017): two thousand dialogues do not teach a random
    encoder to compare tokens, but suffice to learn what a missing match means.
    """

    def __init__(self, config: BertConfig, sep_token_id: int) -> None:
        super().__init__(config, add_pooling_layer=False)
        self.sep_token_id = sep_token_id

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **others: Any,
    ) -> object:
        """All tensors: [batch, tokens]; token_type_ids: None = those of `token_types`."""
        types = self.token_types(input_ids) if token_type_ids is None else token_type_ids
        return super().forward(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=types, **others)

    def token_types(self, input_ids: Tensor) -> Tensor:
        """0, 1 or 2 per token: [batch, tokens]."""
        is_separator = (input_ids == self.sep_token_id).long()  # [batch, tokens]
        separators_left = is_separator.flip(1).cumsum(1).flip(1)
        is_judged, is_context = separators_left == 1, separators_left > 1
        is_equal = input_ids.unsqueeze(2) == input_ids.unsqueeze(1)  # [batch, tokens, tokens]
        is_in_context = (is_equal & is_context.unsqueeze(1)).any(2)
        return is_judged.long() + (is_judged & is_in_context).long()

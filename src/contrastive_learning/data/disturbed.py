"""Responses with split votes, once as they are and once per small edit, ready to be judged again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from contrastive_learning.data.edits import EDITS, Edit, Text, edited
from contrastive_learning.data.inputs import encode
from contrastive_learning.data.tokenized import TokenizedSplit
from contrastive_learning.samplers.examples import IntArray

MOST_RESPONSES = 200  # per split: enough for a share within .03, and a bounded cost
BATCH_SIZE = 128  # responses

Batches = Sequence[Mapping[str, Tensor]]


@dataclass(frozen=True)
class Disturbed:
    """Rows of a split with split votes."""

    rows: IntArray  # [chosen]
    batches: Batches  # as they are
    edits: Sequence[tuple[IntArray, Batches]]  # per kind of edit, the rows that it changes, and they after it


def disturbed(split: TokenizedSplit, tokenizer: PreTrainedTokenizerFast, *, max_length: int, prefix: str) -> Disturbed:
    """At most MOST_RESPONSES rows, evenly spread, without and with each of EDITS.

    max_length, prefix: as the split was tokenised with.
    """
    is_split = ((split.yes_votes > 0) & (split.yes_votes < split.num_votes)).any(1)
    rows = np.flatnonzero(is_split)
    if len(rows) == 0:
        return Disturbed(rows, (), ())
    rows = rows[:: 1 + (len(rows) - 1) // MOST_RESPONSES]
    columns = (split.column(name, rows) for name in ("context", "response", "id"))
    texts = [(Text(context, response), key) for context, response, key in zip(*columns, strict=True)]

    before = encode([text for text, _ in texts], tokenizer, max_length=max_length, prefix=prefix)

    def after(edit: Edit) -> tuple[IntArray, Batches]:
        changed = [edited(text, edit, key) or text for text, key in texts]
        inputs = encode(changed, tokenizer, max_length=max_length, prefix=prefix)
        places = [place for place, tokens in enumerate(inputs) if tokens != before[place]]  # else the change is cut off
        kept = rows[places]
        return kept, _batches(split.with_inputs(kept, [inputs[place] for place in places])) if places else ()

    edits = map(after, EDITS)
    return Disturbed(rows, _batches(split.of(rows)), [(rows, batches) for rows, batches in edits if batches])


def _batches(split: TokenizedSplit) -> Batches:
    return [split.collate(indices) for indices in split.batches_by_length(max_rows=BATCH_SIZE)]

"""What the encoder reads of a response: the tokens of its context and of itself, in one input."""

from collections.abc import Iterable, Sequence

from transformers import PreTrainedTokenizerFast

from contrastive_learning.data.edits import Text
from contrastive_learning.data.responses import RatedResponse
from contrastive_learning.model.encoders import PretrainedEncoder, ScratchEncoder

MOST_ROWS_FOR_VOCABULARY = 50_000  # rows, evenly spread, that a tokenizer of our own is trained on


def tokenizer_for(
    encoder: PretrainedEncoder | ScratchEncoder, train: Sequence[RatedResponse]
) -> PreTrainedTokenizerFast:
    """The encoder's tokenizer, which for an encoder from scratch is trained on the training responses."""
    some = train[:: 1 + len(train) // MOST_ROWS_FOR_VOCABULARY]
    return encoder.tokenizer(text for item in some for text in (*item.context, item.response))


def encode(
    responses: Iterable[RatedResponse | Text], tokenizer: PreTrainedTokenizerFast, *, max_length: int, prefix: str
) -> list[list[int]]:
    """The tokens of [CLS] prefix turn [SEP] turn [SEP] response [SEP], a list per response.

    An input longer than `max_length` loses the oldest context first and the end of the response last.
    """
    responses = list(responses)
    texts = list(dict.fromkeys(text for item in responses for text in (*item.context, item.response)))
    plain = {"add_special_tokens": False, "return_attention_mask": False, "return_token_type_ids": False}
    pieces = dict(zip(texts, tokenizer(texts, **plain)["input_ids"] if texts else [], strict=True))
    start = start_tokens(tokenizer, prefix)
    return [
        _join(
            start,
            [pieces[turn] for turn in item.context],
            pieces[item.response],
            tokenizer.sep_token_id,
            max_length,
        )
        for item in responses
    ]


def start_tokens(tokenizer: PreTrainedTokenizerFast, prefix: str) -> list[int]:
    """The tokens before the context: [CLS], if the tokenizer has it, and the prefix."""
    start = [token for token in (tokenizer.cls_token_id,) if token is not None]
    return start + (tokenizer(prefix, add_special_tokens=False)["input_ids"] if prefix else [])


def _join(start: list[int], turns: list[list[int]], response: list[int], separator: int, max_length: int) -> list[int]:
    response = response[: max_length - len(start) - 1]
    room = max_length - len(start) - len(response) - 1
    kept: list[int] = []
    for turn in reversed(turns):
        if room < 2:
            break
        turn = turn[-(room - 1) :]  # of a turn that fits only in part, the end
        kept = [*turn, separator, *kept]
        room -= len(turn) + 1
    return [*start, *kept, *response, separator]

"""A batch without padding: the tokens of all responses in one row, attention only within each response.

Models of transformers look up their attention function by a name in their config, and pass on to it what they are
called with. `leave_out_padding` names ours there, and `packed_states` calls the encoder with the layout of the row.
Weights and their names stay as they are, and a call without a layout computes what it did before.
"""

import logging
from dataclasses import dataclass
from functools import cache
from threading import get_ident
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrastive_learning.model.attention import Runs, attend_on_cpu, attend_on_cuda, why_not_on_cuda
from contrastive_learning.model.dropout import quicken
from contrastive_learning.model.passes import extents
from contrastive_learning.runtime.devices import sent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

ATTENTION = "within_responses"
PACKAGES = ("transformers", "contrastive_learning")  # whose encoders take a row; other subclasses may not
KINDS = ("bert", "electra", "modernbert", "roberta", "xlm-roberta")  # model_type: those whose positions we know


@dataclass(frozen=True)
class Layout:
    """Where the responses stand in the row: from the longest to the shortest, then perhaps some tokens of none."""

    index: Tensor  # [tokens], where each token of the row was in the flattened batch
    lengths: list[int]  # tokens of each response of the row
    starts: Tensor  # [batch + 1], int32: of each response in the row, and the end of the last
    places: Tensor  # [batch], of each response of the batch among those of the row
    runs: Runs  # what attention on CPUs needs

    def response_of(self) -> Tensor:
        """The response of the row, counted from 0, that each of their tokens belongs to."""
        numbers = torch.arange(len(self.lengths), device=self.starts.device)
        return numbers.repeat_interleave(self.starts.diff(), output_size=sum(self.lengths))


def why_padded(encoder: Any, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why this encoder must get padded batches on `device`, whose attention computes in `dtype`; None if it need not.

    On a GPU a few tokens are tried there, and compared with the CPU: some seconds the first time.
    """
    if (reason := _why_unknown(encoder)) is not None:
        return reason
    if device.type == "cpu":
        return None
    if device.type != "cuda":
        return f"torch has no attention over texts of several lengths on {device.type}"
    config, window = encoder.config, _window(encoder)
    is_modern = config.model_type == "modernbert"
    return why_not_on_cuda(
        config.num_attention_heads,
        config.hidden_size // config.num_attention_heads,
        device,
        dtype,
        dropout=config.attention_dropout if is_modern else config.attention_probs_dropout_prob,
        window=None if window is None else window + 1,  # transformers counts without the token itself
    )


def _why_unknown(encoder: Any) -> str | None:
    """Why we do not know what this encoder does with its inputs; None if we do."""
    from transformers import PreTrainedModel  # with the models, not before: it takes seconds

    config = encoder.config
    kind = getattr(config, "model_type", type(encoder).__name__)
    if not isinstance(encoder, PreTrainedModel) or kind not in KINDS or getattr(config, "is_decoder", False):
        return f"an encoder of the kind {kind} (without padding: {', '.join(KINDS)})"
    if type(encoder).forward.__module__.partition(".")[0] not in PACKAGES:
        return f"{type(encoder).__name__} has a forward of its own"
    return None


def mask_of_padded(encoder: Any, attention_mask: Tensor, device: torch.device) -> Tensor | None:
    """What the encoder gets as the mask of a padded batch: what transformers would make of it, without asking `device`
    whether all tokens are seen. attention_mask: [batch, tokens], best on the CPU, which then knows.
    """
    attention = getattr(encoder.config, "_attn_implementation", None)
    is_known = _window(encoder) is None and attention in ("sdpa", ATTENTION) and _why_unknown(encoder) is None
    if not is_known or torch.compiler.is_compiling():  # an export must not depend on what this mask holds
        return sent(attention_mask, device)
    if bool(attention_mask.all()):
        return None
    seen = sent(attention_mask.bool(), device)
    return seen[:, None, None].expand(-1, 1, seen.shape[1], -1)  # [batch, 1, tokens, tokens]


def leave_out_padding(encoder: "PreTrainedModel") -> None:
    """Let `packed_states` call this encoder, whose attention is ours from then on, and its dropout on CPUs. Its calls
    with padded batches give what transformers gives with scaled_dot_product_attention, but for the dropout masks.
    """
    register_attention()
    encoder.set_attn_implementation(ATTENTION)
    quicken(encoder)


def register_attention() -> None:
    """Tell transformers, in this process, what ATTENTION names."""
    from transformers import AttentionInterface, AttentionMaskInterface  # with the models, as above
    from transformers.masking_utils import sdpa_mask

    # not compiled: the lengths differ from batch to batch
    attend = torch.compiler.disable(attend_within)  # type: ignore[no-untyped-call]
    AttentionInterface.register(ATTENTION, attend)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def why_not_in_a_row(encoder: Any, attention_mask: Tensor) -> str | None:
    """Why this batch [batch, tokens], of an encoder that needs no padding, must be padded all the same; None if not."""
    seen = attention_mask.bool()
    if not bool(seen[:, 0].all()):
        return "the first token of a response is masked, which is the one to pool (responses padded on the left?)"
    if _window(encoder) is not None and bool((extents(attention_mask) != seen.sum(1)).any()):
        return "tokens are masked within a response, past which a sliding window would see more than it should"
    return None


def layout_of(encoder: Any, attention_mask: Tensor, device: torch.device) -> Layout | None:
    """How a batch [batch, tokens] fits in a row on `device`; a mask on the CPU makes no one wait for the GPU.

    None if it does not, which is logged, once per reason.
    """
    attention_mask = attention_mask.cpu()
    reason = why_not_in_a_row(encoder, attention_mask)
    if reason is not None:
        tell_padded(reason)
        return None
    seen = attention_mask.bool()
    lengths = seen.sum(1)
    lengths, order = lengths.sort(descending=True, stable=True)
    responses, columns = seen[order].nonzero(as_tuple=True)
    index = order[responses] * seen.shape[1] + columns
    if device.type == "cpu":
        index = F.pad(index, (0, -len(index) % _step(len(index))))
    starts = F.pad(lengths.cumsum(0), (1, 0)).int()
    index, starts, places = (sent(each, device) for each in (index, starts, order.argsort()))
    runs = Runs(lengths.tolist(), encoder.config.num_attention_heads, len(index))
    return Layout(index, lengths.tolist(), starts, places, runs)


@cache
def tell_padded(reason: str) -> None:
    logger.warning("some batches are padded: %s", reason)


def packed_states(encoder: Any, input_ids: Tensor, layout: Layout, *, only_first: bool = False) -> Tensor:
    """The last hidden states of all tokens of the row [tokens, hidden], or of the first of each response in it.

    input_ids: [batch, tokens], padded. only_first: the last layer computes for first tokens only, after its attention.
    """
    columns = {"input_ids": input_ids, "position_ids": _positions(encoder, input_ids)}
    if hasattr(encoder, "token_types"):  # SegmentedBert
        columns["token_type_ids"] = encoder.token_types(input_ids)
    row: dict[str, Any] = {name: column.flatten()[layout.index].unsqueeze(0) for name, column in columns.items()}
    if _window(encoder) is not None:
        row["attention_mask"] = dict.fromkeys(("full_attention", "sliding_attention"))  # else it makes tokens x tokens
    first = layout.starts[:-1]
    after_attention = _after_last_attention(encoder) if only_first else None
    if after_attention is None:
        states: Tensor = encoder(**row, layout=layout).last_hidden_state[0]
        return states[first] if only_first else states
    caller = get_ident()  # the hook is on the encoder, which other threads may call, too

    def only_the_first(_: nn.Module, states: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        return tuple(each[:, first] for each in states) if get_ident() == caller else None

    hook = after_attention.register_forward_pre_hook(only_the_first)
    try:
        states = encoder(**row, layout=layout).last_hidden_state[0]
    finally:
        hook.remove()
    return states


def attend_within(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    layout: Layout | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """An attention function as transformers calls them; without a layout, its own with scaled_dot_product_attention.

    query, key, value: [1, heads, tokens, dim] of a row. Returns [1, tokens, heads, dim]. A token sees those fewer than
    `sliding_window` places away; None = its whole response.
    """
    if layout is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        states: Tensor = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )[0]
        return states, None
    query, key, value = (each[0].transpose(0, 1) for each in (query, key, value))  # [tokens, heads, dim]
    options: dict[str, Any] = {"dropout": dropout, "scale": scaling, "window": sliding_window}
    if query.device.type == "cpu":
        return attend_on_cpu(query, key, value, layout.runs, **options).unsqueeze(0), None
    return attend_on_cuda(query, key, value, layout.starts, max(layout.lengths), **options).unsqueeze(0), None


def _positions(encoder: Any, input_ids: Tensor) -> Tensor:
    """The position of each token [batch, tokens] as the encoder numbers them; RoBERTa and its kin do so by token."""
    embeddings = encoder.embeddings
    if hasattr(embeddings, "create_position_ids_from_input_ids"):
        positions: Tensor = embeddings.create_position_ids_from_input_ids(input_ids, embeddings.padding_idx)
        return positions
    return torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)


def _after_last_attention(encoder: Any) -> nn.Module | None:
    """What takes the attention of the last layer and, as residual, its input; None if no hook can reach it."""
    if encoder.config.model_type == "modernbert":
        return None
    layer = encoder.encoder.layer[-1]
    # compiled code would not see the hook come and go; checkpointing calls the layer again when the hook is gone
    if _is_compiled(encoder) or layer.gradient_checkpointing:
        return None
    output: nn.Module = layer.attention.output
    return output


def _is_compiled(encoder: nn.Module) -> bool:
    """Whether the encoder or a part of it is, or is called from code that is being compiled."""
    return torch.compiler.is_compiling() or any(each._compiled_call_impl is not None for each in encoder.modules())


def _window(encoder: Any) -> int | None:
    window: int | None = getattr(encoder.config, "sliding_window", None)
    return window


def _step(tokens: int) -> int:
    """On CPUs rows have a multiple of this many tokens, at most 1/32 more than they need: oneDNN makes code for each
    number of tokens, which takes longer than the step of a small encoder, and keeps that of about a hundred.
    """
    return 1 << max(0, tokens.bit_length() - 6)

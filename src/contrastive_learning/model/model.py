"""The judge: encoder -> features -> a projection head for the contrastive loss, a classification head for BCE."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from contrastive_learning.choices import check_choice
from contrastive_learning.model.compiling import begin_graphs, compile_blocks
from contrastive_learning.model.encoders import PackagedEncoder, PretrainedEncoder, ScratchEncoder
from contrastive_learning.model.packed import (
    Layout,
    layout_of,
    leave_out_padding,
    mask_of_padded,
    packed_states,
    register_attention,
    why_padded,
)
from contrastive_learning.model.passes import Pass, encode_in_passes
from contrastive_learning.runtime.devices import sent
from contrastive_learning.runtime.precision import full_precision
from contrastive_learning.runtime.processes import OnHost

POOLINGS = ("cls", "mean")
NORMALIZATIONS = ("layer_norm", "batch_norm", "none")


class ModelOutput(NamedTuple):
    logits: Tensor  # [batch, criteria]
    features: Tensor  # [batch, hidden], what both heads read
    embeddings: Tensor  # [batch, dim], unit norm


class ContrastiveQualityModel(nn.Module):
    """Judges a tokenised response on `num_labels` criteria.

    `normalization` stands between pooling and both heads: pretrained [CLS] vectors start nearly identical, and the
    heads learn slowly from them without it. `temperature` is what ContrastiveTrainer uses if it is given no loss.
    `encoder` replaces loading `model_name`: any module whose call returns `.last_hidden_state` and that has `.config`.
    """

    def __init__(
        self,
        model_name: str = "klue/roberta-base",
        num_labels: int = 9,
        projection_dim: int = 256,
        temperature: float = 0.07,
        *,
        pooling: str = "cls",
        normalization: str = "layer_norm",
        dropout: float = 0.1,
        encoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        if projection_dim < 2:
            raise ValueError(f"model.projection_dim must be at least 2, got {projection_dim}")
        self.pooling = check_choice("model.pooling", pooling, POOLINGS)
        self.temperature = temperature
        self.encoder: Any = encoder if encoder is not None else PretrainedEncoder(model_name).encoder(None)
        self.padding_free = self.in_graphs = False
        hidden = _hidden_size(self.encoder)
        self.normalization = _normalization(normalization, hidden)
        self.dropout = nn.Dropout(dropout)
        self.projection_head = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, projection_dim))
        self.classification_head = nn.Linear(hidden, num_labels)
        nn.init.normal_(self.classification_head.weight, std=0.02)
        nn.init.zeros_(self.classification_head.bias)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        if self.padding_free:  # unpickled in another process
            register_attention()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | OnHost,
        *,
        encoder_share: float = 1.0,
        passes: Sequence[Pass] | None = None,
    ) -> ModelOutput:
        """input_ids, attention_mask: [batch, tokens], padded on the right; the mask may be on the CPU.

        `encoder_share` in 0..1 scales what the encoder gets of the gradient of the embeddings; `passes` tells which
        rows it sees at a time; None = all at once.
        """
        if isinstance(attention_mask, OnHost):
            attention_mask = attention_mask.value
        if passes is None:
            pooled = self.encode(input_ids, attention_mask)
        else:
            pooled = encode_in_passes(self.encode, input_ids, attention_mask, passes)
        return self.judge(pooled, encoder_share=encoder_share)

    def leave_out_padding(self, device: torch.device, dtype: torch.dtype) -> str | None:
        """From now on encode batches without their padding, which changes results by rounding only.

        device: of the model, later; dtype: of its attention there. Returns why batches stay padded, or None.
        """
        reason = why_padded(self.encoder, device, dtype)
        if reason is None:
            leave_out_padding(self.encoder)
            self.padding_free = True
        return reason

    def compile_encoder(self, *, graphs: bool) -> None:
        """torch.compile the encoder's blocks, if wanted with CUDA graphs, which need batches with padding."""
        compile_blocks(self.encoder, graphs=graphs)
        self.in_graphs = graphs

    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Pooled encoder states [batch, hidden]."""
        if self.in_graphs:
            input_ids, attention_mask = begin_graphs(self.encoder, input_ids, attention_mask)
        layout = layout_of(self.encoder, attention_mask, input_ids.device) if self.padding_free else None
        if layout is not None:
            states = packed_states(self.encoder, input_ids, layout, only_first=self.pooling == "cls")
            return self._pool_packed(states, layout)
        mask = mask_of_padded(self.encoder, attention_mask, input_ids.device)
        states = self.encoder(input_ids=input_ids, attention_mask=mask).last_hidden_state
        return self._pool(states, attention_mask)

    def judge(self, pooled: Tensor, *, encoder_share: float = 1.0) -> ModelOutput:
        """Both heads on pooled encoder states [batch, hidden]."""
        features = self.normalization(pooled)
        projected = features if encoder_share == 1 else features.detach().lerp(features, encoder_share)
        embeddings = F.normalize(full_precision(self.projection_head(projected)), dim=-1, eps=1e-8)
        return ModelOutput(self.classification_head(self.dropout(features)), features, embeddings)

    def _pool(self, states: Tensor, attention_mask: Tensor) -> Tensor:
        if self.pooling == "cls":
            return states[:, 0].clone()  # a view would keep the states of all tokens
        weights = sent(attention_mask, states.device).unsqueeze(-1).to(states.dtype)  # [batch, tokens, 1]
        return (states * weights).sum(1) / weights.sum(1).clamp_min(1)

    def _pool_packed(self, states: Tensor, layout: Layout) -> Tensor:
        """states: [tokens, hidden], or of the first tokens [batch, hidden]."""
        if self.pooling == "cls":
            return states[layout.places]
        states = full_precision(states[: sum(layout.lengths)])  # bf16 sums would lose what the mean is made of
        sums = states.new_zeros(len(layout.lengths), states.shape[1]).index_add(0, layout.response_of(), states)
        return (sums / layout.starts.diff().unsqueeze(1))[layout.places]

    @torch.no_grad()
    def start_from_base_rates(self, yes_rates: Sequence[float]) -> None:
        """Set the classification bias so that the first predictions are the training set's yes rates [criteria]."""
        rates = torch.as_tensor(yes_rates, dtype=torch.float32).clamp(0.01, 0.99)
        self.classification_head.bias.copy_(torch.logit(rates))


@dataclass(frozen=True)
class ModelRecipe:
    """A `model` config: which encoder, which heads.

    `lr` (encoder) and `head_lr` are the rates this encoder trains well with; `optimizer` takes them from here.
    `init_seed` draws the weights that training begins with (of the heads, and of an encoder from scratch), so that runs
    of several seeds begin alike and their weights can be averaged; None = the seed of the run does.
    """

    name: str
    encoder: PretrainedEncoder | PackagedEncoder | ScratchEncoder
    pooling: str
    normalization: str
    projection_dim: int
    dropout: float
    lr: float
    head_lr: float
    init_seed: int | None = None

    def build(self, tokenizer: PreTrainedTokenizerFast, yes_rates: Sequence[float]) -> ContrastiveQualityModel:
        if self.init_seed is None:
            return self._build(tokenizer, yes_rates)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.init_seed)
            return self._build(tokenizer, yes_rates)

    def _build(self, tokenizer: PreTrainedTokenizerFast, yes_rates: Sequence[float]) -> ContrastiveQualityModel:
        model = ContrastiveQualityModel(
            self.name,
            num_labels=len(yes_rates),
            projection_dim=self.projection_dim,
            pooling=self.pooling,
            normalization=self.normalization,
            dropout=self.dropout,
            encoder=self.encoder.encoder(tokenizer),
        )
        model.start_from_base_rates(yes_rates)
        return model


def _hidden_size(encoder: Any) -> int:
    return int(encoder.config.hidden_size)


def _normalization(name: str, hidden: int) -> nn.Module:
    check_choice("model.normalization", name, NORMALIZATIONS)
    if name == "none":
        return nn.Identity()
    return nn.LayerNorm(hidden) if name == "layer_norm" else nn.BatchNorm1d(hidden)

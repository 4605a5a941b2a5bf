"""Writes the folder that judge.py reads."""

import json
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedConfig, PreTrainedTokenizerFast

from contrastive_learning.metrics.evaluation import Evaluation
from contrastive_learning.model.encoders import SegmentedBert
from contrastive_learning.model.model import ContrastiveQualityModel

JUDGE_CODE = Path(__file__).with_name("judge.py")
NORMALIZATION_NAMES = {nn.LayerNorm: "layer_norm", nn.BatchNorm1d: "batch_norm", nn.Identity: "none"}
NOTICE = """\
The code that serves this model (judge.py) is part of contrastive-quality: Copyright 2026 contrastive-quality
contributors, licensed under Apache-2.0, https://www.apache.org/licenses/LICENSE-2.0
The weights and the tokenizer may derive from a pretrained encoder: whoever passes them on must look up its licence.
"""


def export_judge(
    folder: Path,
    model: ContrastiveQualityModel,
    tokenizer: PreTrainedTokenizerFast,
    criteria: Sequence[str],
    valid: Evaluation,
    *,
    max_length: int,
    prefix: str,
    precision: str,
) -> None:
    """Write weights, tokenizer, settings and the licence notice to `folder`.

    valid: the evaluation of `model` on the validation split, on which thresholds and vote shares are fitted.
    precision: fp32, bf16 or fp16, in which `model` was evaluated. Raises ValueError if the encoder is not a
    transformers one.
    """
    config = check_servable(model)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    config.to_json_file(folder / "encoder.json")
    tokenizer.save_pretrained(folder / "tokenizer")
    settings = {
        "criteria": list(criteria),
        "thresholds": valid.thresholds().tolist(),
        "vote_shares": valid.vote_shares().tolist(),
        "pooling": model.pooling,
        "normalization": NORMALIZATION_NAMES[type(model.normalization)],
        "projection_dim": model.projection_head[-1].out_features,
        "token_types": isinstance(model.encoder, SegmentedBert),
        "sep_token_id": tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "max_length": max_length,
        "prefix": prefix,
        "precision": precision,
    }
    (folder / "NOTICE").write_text(NOTICE, encoding="utf-8")
    (folder / "judge.json").write_text(json.dumps(settings, ensure_ascii=False, indent=2), encoding="utf-8")


def check_servable(model: ContrastiveQualityModel) -> PreTrainedConfig:
    """The encoder's configuration. Raises ValueError if `export_judge` would refuse the model once it is trained."""
    config = model.encoder.config
    if not isinstance(config, PreTrainedConfig):
        raise ValueError(f"only a transformers encoder can be served, got {type(model.encoder).__name__}")
    return config

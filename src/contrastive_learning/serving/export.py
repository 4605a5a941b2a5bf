"""Writes the folder that judge.py reads."""

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedTokenizerFast

from contrastive_learning.judging import MixedJudge, Neighbours, by_vectors
from contrastive_learning.metrics.evaluation import Evaluation
from contrastive_learning.model.model import ContrastiveQualityModel
from contrastive_learning.model.segmented import SegmentedBert

WEIGHTS = "model.safetensors"  # judge.py reads it
JUDGE_CODE = Path(__file__).with_name("judge.py")
RUNTIME_PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino"}
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
    judge: MixedJudge | None = None,
    training_texts: Iterable[tuple[Sequence[str], str]] = (),
) -> None:
    """Write weights, tokenizer, settings and the licence notice to `folder`.

    valid: the evaluation on the validation split, on which thresholds, vote shares and their spread are fitted.
    precision: fp32, bf16 or fp16, in which `model` was evaluated. judge: what is mixed with the classification head;
    None: nothing. training_texts: (context, response) of its training responses; neighbours are given as reasons with
    these. Raises ValueError if the encoder is not a transformers one.
    """
    config = check_servable(model)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    (folder / WEIGHTS).unlink(missing_ok=True)  # a recorded model may have the same file
    save_file(weights, folder / WEIGHTS)
    config.to_json_file(folder / "encoder.json")
    tokenizer.save_pretrained(folder / "tokenizer")
    settings = {
        "criteria": list(criteria),
        "thresholds": valid.thresholds.tolist(),
        "vote_shares": valid.vote_shares.tolist(),
        "concentrations": valid.concentrations.tolist(),
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
    if judge is not None:
        settings["by_vectors"] = _export_vectors(folder, judge, training_texts)
    (folder / "NOTICE").write_text(NOTICE, encoding="utf-8")
    (folder / "judge.json").write_text(json.dumps(settings, ensure_ascii=False, indent=2), encoding="utf-8")


def judge_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of the judge in `folder`. Raises ValueError if they are damaged or missing."""
    try:
        weights: dict[str, Tensor] = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{folder / WEIGHTS} is damaged or missing") from error
    return weights


def extra_packages(folder: Path) -> list[str]:
    """What the judge in `folder` needs beside the packages that every judge does."""
    settings = json.loads((folder / "judge.json").read_text(encoding="utf-8"))
    runtimes = [RUNTIME_PACKAGES[settings["runtime"]]] if "runtime" in settings else []
    return [*runtimes, *(["faiss-cpu"] if settings.get("by_vectors", {}).get("needs_index") else [])]


def _export_vectors(
    folder: Path, judge: MixedJudge, training_texts: Iterable[tuple[Sequence[str], str]]
) -> dict[str, Any]:
    """Write the vectors, the code that compares them and, for neighbours, the texts. Returns the settings for them."""
    judge.by_vectors.save(folder)
    shutil.copy(by_vectors.__file__, folder / "by_vectors.py")
    of_neighbours = isinstance(judge.by_vectors, Neighbours)
    if of_neighbours:
        with (folder / "training_texts.jsonl").open("w", encoding="utf-8") as file:
            for context, response in training_texts:
                row = {"context": list(context), "response": response}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return {
        "kind": type(judge.by_vectors).__name__,
        "space": judge.space,
        "weights": judge.weights.tolist(),
        "needs_index": of_neighbours and len(judge.training.features) > by_vectors.EXACT_ROWS,
    }


def check_servable(model: ContrastiveQualityModel) -> PreTrainedConfig:
    """The encoder's configuration. Raises ValueError if `export_judge` would refuse the model once it is trained."""
    config = model.encoder.config
    if not isinstance(config, PreTrainedConfig):
        raise ValueError(f"only a transformers encoder can be served, got {type(model.encoder).__name__}")
    return config

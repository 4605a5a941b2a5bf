# SPDX-License-Identifier: Apache-2.0
"""The served judge: MLflow copies this one file next to the weights and runs it without this package installed.

So it imports nothing of the package, and repeats, for inference only, what model/model.py, model/encoders.py
(SegmentedBert), data/tokenized.py (encode) and runtime/devices.py (cpu_multiplies_bf16) do; a test checks that both
give the same probabilities. Needs mlflow, torch, transformers, safetensors, numpy and pandas, and the folder `judge`
with judge.json, encoder.json, model.safetensors and tokenizer/.
"""

import json
import math
import os
import unicodedata
from pathlib import Path
from typing import Any

# before torch is loaded: OpenMP threads that spin while they wait would take the cores from other processes
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import mlflow
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from mlflow.pyfunc import PythonModel
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

BATCH_SIZE = 32


class Network(nn.Module):
    """ContrastiveQualityModel for inference only; its weights have the same names."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        super().__init__()
        encoder = AutoModel.from_config(AutoConfig.from_pretrained(folder / "encoder.json"))
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler = None
        self.encoder = encoder
        self.settings = settings
        hidden, dim = encoder.config.hidden_size, settings["projection_dim"]
        normalizations = {"none": nn.Identity, "layer_norm": nn.LayerNorm, "batch_norm": nn.BatchNorm1d}
        self.normalization = normalizations[settings["normalization"]](hidden)
        self.projection_head = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.classification_head = nn.Linear(hidden, len(settings["criteria"]))
        self.load_state_dict(load_file(folder / "model.safetensors"))
        self.eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [batch, criteria] and unit embeddings [batch, dim]."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self.settings["token_types"]:
            separators_left = (input_ids == self.settings["sep_token_id"]).long().flip(1).cumsum(1).flip(1)
            is_judged, is_context = separators_left == 1, separators_left > 1
            is_equal = input_ids.unsqueeze(2) == input_ids.unsqueeze(1)  # [batch, tokens, tokens]
            is_in_context = (is_equal & is_context.unsqueeze(1)).any(2)
            inputs["token_type_ids"] = is_judged.long() + (is_judged & is_in_context).long()
        states = self.encoder(**inputs).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(states.dtype)
        mean = (states * weights).sum(1) / weights.sum(1).clamp_min(1)
        features = self.normalization(states[:, 0] if self.settings["pooling"] == "cls" else mean)
        embeddings = F.normalize(self.projection_head(features).float(), dim=-1, eps=1e-8)
        return self.classification_head(features).float(), embeddings


class Judge(PythonModel):  # type: ignore[misc]  # mlflow is untyped here
    """Judges a table of responses: the columns `context` (a list of turns, oldest first, or one text) and `response`.

    Three columns per criterion are returned. `probability/<criterion>`: of yes, as in training. `decision/<criterion>`:
    whether that is above the threshold chosen on the validation split. `vote_share/<criterion>`: the expected share of
    yes votes, which is the probability calibrated on the validation votes.
    """

    def load_context(self, context: Any) -> None:
        folder = Path(context.artifacts["judge"])
        self.settings: dict[str, Any] = json.loads((folder / "judge.json").read_text(encoding="utf-8"))
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = Network(folder, self.settings).to(self.device)
        self.dtype = _autocast_dtype(self.settings["precision"], self.device)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row per response. With params {"embeddings": True} also `embedding`, a list of projection_dim floats.

        Raises ValueError for a response that is not a text or is empty, and for a context of another form.
        """
        responses = model_input["response"]
        if not all(isinstance(response, str) and response.strip() for response in responses):
            raise ValueError("every response must be a text that is not empty")
        contexts = model_input["context"] if "context" in model_input else [None] * len(responses)
        tokens = [self._tokens(turns, response) for turns, response in zip(contexts, responses, strict=True)]
        logits, embeddings = self._judge(tokens)
        judged = self._columns(logits)
        if (params or {}).get("embeddings"):
            judged["embedding"] = embeddings.tolist()
        return pd.DataFrame(judged, index=model_input.index)

    def _columns(self, logits: np.ndarray[Any, Any]) -> dict[str, Any]:
        columns: dict[str, Any] = {}
        for index, criterion in enumerate(self.settings["criteria"]):
            values = logits[:, index].astype(np.float64)
            slope, offset = self.settings["vote_shares"][index]
            columns[f"probability/{criterion}"] = _sigmoid(values)
            columns[f"decision/{criterion}"] = _sigmoid(values) > self.settings["thresholds"][index]
            columns[f"vote_share/{criterion}"] = _sigmoid(slope * values + offset)
        return columns

    def _judge(self, tokens: list[list[int]]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        logits = np.zeros((len(tokens), len(self.settings["criteria"])), dtype=np.float32)
        embeddings = np.zeros((len(tokens), self.settings["projection_dim"]), dtype=np.float32)
        order = sorted(range(len(tokens)), key=lambda row: -len(tokens[row]))
        for start in range(0, len(order), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            width = len(tokens[rows[0]])
            padded = [tokens[row] + [self.settings["pad_token_id"]] * (width - len(tokens[row])) for row in rows]
            mask = [[1] * len(tokens[row]) + [0] * (width - len(tokens[row])) for row in rows]
            with torch.inference_mode(), torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
                output = self.network(torch.tensor(padded, device=self.device), torch.tensor(mask, device=self.device))
            logits[rows], embeddings[rows] = (part.cpu().numpy() for part in output)
        return logits, embeddings

    def _tokens(self, context: Any, response: str) -> list[int]:
        """[CLS] prefix turn [SEP] turn [SEP] response [SEP]; if that is too long, the oldest context is left out."""
        turns = [self._pieces(turn) for turn in _turns(context)]
        first = self.tokenizer.cls_token_id
        start = ([] if first is None else [first]) + self._pieces(self.settings["prefix"])
        separator, longest = self.settings["sep_token_id"], self.settings["max_length"]
        answer = self._pieces(response)[: longest - len(start) - 1]
        room = longest - len(start) - len(answer) - 1
        kept: list[int] = []
        for turn in reversed(turns):
            if room < 2:
                break
            turn = turn[-(room - 1) :]
            kept = [*turn, separator, *kept]
            room -= len(turn) + 1
        return [*start, *kept, *answer, separator]

    def _pieces(self, text: str) -> list[int]:
        text = unicodedata.normalize("NFC", text)  # as in training
        pieces: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        return pieces


def _autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The precision of the training if this device is fast at it, else None, which means full precision."""
    if device.type == "cuda":
        fast = ["fp16", "bf16"] if torch.cuda.is_bf16_supported(including_emulation=False) else ["fp16"]
    else:
        fast = ["bf16"] if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else []
    return {"bf16": torch.bfloat16, "fp16": torch.float16}[precision] if precision in fast else None


def _turns(context: Any) -> list[str]:
    """The turns that are not empty; a missing context (None, or NaN as pandas has it) has none."""
    if context is None or (isinstance(context, float) and math.isnan(context)):
        return []
    turns = [context] if isinstance(context, str) else list(context)
    if not all(isinstance(turn, str) for turn in turns):
        raise ValueError(f"context must be a list of turns or one text, got {context!r}")
    return [turn for turn in turns if turn.strip()]


def _sigmoid(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(torch.sigmoid(torch.from_numpy(values)))


mlflow.models.set_model(Judge())

# SPDX-License-Identifier: Apache-2.0
"""The served judge: MLflow copies this one file next to the weights and runs it without this package installed.

So it imports nothing of the package, and repeats, for inference only, what model/model.py, model/segmented.py,
data/inputs.py (encode) and runtime/devices.py (cpu_multiplies_bf16) do; a test checks that both give the same
probabilities. Needs mlflow, torch, transformers, safetensors, numpy and pandas, and the folder `judge`
with judge.json, encoder.json, model.safetensors and tokenizer/. A judge that is mixed with one by vectors also has
by_vectors.py, the code of that one, vectors.safetensors and, if it is one of neighbours, training_texts.jsonl. A judge
of compiled.py has model.onnx or model.xml instead of the weights, and runtimes.py, the code of what runs that.
"""

import json
import math
import os
import runpy
import threading
import unicodedata
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

# before torch is loaded: OpenMP threads that spin while they wait would take the cores from other processes
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import mlflow
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

BATCH_SIZE = 32
MOST_JOINED = 4  # rows of a request that is judged together with others: it took half the CPU; of 8 rows, little less
Array = np.ndarray[Any, Any]
Asked = tuple[list[list[int]], "Future[tuple[Array, ...]]"]  # the tokens of a request's rows, and its answer


class InputError(MlflowException, ValueError):  # type: ignore[misc]  # mlflow is untyped here
    """What cannot be judged: from MLflow's server a 400 with one line, from Python a ValueError."""

    def __init__(self, line: str) -> None:
        super().__init__(line, error_code=INVALID_PARAMETER_VALUE)  # type: ignore[call-arg]

    # the server would write all data of the request before it, and the trace of any other exception after it
    message = property(lambda self: self.args[0], lambda self, longer: None)


class Network(nn.Module):
    """ContrastiveQualityModel for inference only; its weights have the same names."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        super().__init__()
        encoder = AutoModel.from_config(AutoConfig.from_pretrained(folder / "encoder.json"))
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler = None
        self.encoder = encoder
        self.settings = settings
        self.hidden = hidden = encoder.config.hidden_size
        dim = settings["projection_dim"]
        normalizations = {"none": nn.Identity, "layer_norm": nn.LayerNorm, "batch_norm": nn.BatchNorm1d}
        self.normalization = normalizations[settings["normalization"]](hidden)
        self.projection_head = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.classification_head = nn.Linear(hidden, len(settings["criteria"]))
        self.load_state_dict(load_file(folder / "model.safetensors"))
        self.eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [batch, criteria], features [batch, hidden] and unit embeddings [batch, dim]."""
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
        return self.classification_head(features).float(), features.float(), embeddings


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
        runtime = self.settings.get("runtime")
        self.device = torch.device("cuda" if torch.cuda.is_available() and runtime is None else "cpu")
        self.network: Any
        if runtime is None:
            self.network = Network(folder, self.settings).to(self.device)
        else:
            self.network = runpy.run_path(str(folder / "runtimes.py"))["RUNTIMES"][runtime](folder, self.settings)
        self.turn, self.waiting = threading.Lock(), list[Asked]()
        self.dtype = _autocast_dtype(self.settings["precision"], self.device)
        self.by_vectors: Any = None  # Neighbours or Prototypes; None: the classification head judges by itself
        if "by_vectors" in self.settings:
            kinds = runpy.run_path(str(folder / "by_vectors.py"))  # the code that lies next to the weights
            self.by_vectors = kinds[self.settings["by_vectors"]["kind"]].load(folder)
        self.training_texts: list[dict[str, Any]] = []
        if (texts := folder / "training_texts.jsonl").exists():
            with texts.open(encoding="utf-8") as file:
                self.training_texts = [json.loads(line) for line in file]

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row per response. With params {"embeddings": True} also `embedding`, a list of projection_dim floats.

        With params {"neighbours": 3}, a judge with neighbours adds `neighbours/<criterion>`: the three training
        responses nearest for that criterion, nearest first, each with context, response, yes_votes, num_votes,
        similarity (cosine) and weight (its share in the neighbours' part of the judgement).

        Raises InputError for a response that is not a text or is empty, for a context of another form, and if there are
        no neighbours, or not so many.
        """
        if "response" not in model_input:
            raise InputError(f"each row needs a response, got the columns {', '.join(model_input) or 'none'}")
        responses = model_input["response"]
        for row, response in enumerate(responses, start=1):
            if not isinstance(response, str) or not response.strip():
                raise InputError(f"every response must be a text that is not empty, got {response!r:.40} in row {row}")
        wanted = params or {}
        self.check_neighbours(wanted.get("neighbours", 0))
        contexts = model_input["context"] if "context" in model_input else [None] * len(responses)
        logits, features, embeddings = self._judge(self.tokens(contexts, responses))
        vectors = {"features": features, "embeddings": embeddings}
        judged = self._columns(logits, vectors)
        if wanted.get("embeddings"):
            judged["embedding"] = embeddings.tolist()
        if wanted.get("neighbours", 0) > 0:
            judged |= self._neighbours(vectors, wanted["neighbours"])
        return pd.DataFrame(judged, index=model_input.index)

    def check_neighbours(self, number: int) -> None:
        """Raises ValueError if the judge cannot give so many."""
        if number == 0:
            return
        if not self.training_texts:
            raise InputError("this judge has no neighbours to give as reasons: train one with judge=neighbours")
        if not 0 < number <= self.by_vectors.k:
            raise InputError(f"neighbours must be 0..{self.by_vectors.k}, got {number}")

    def _columns(self, logits: Array, vectors: dict[str, Array]) -> dict[str, Any]:
        columns: dict[str, Any] = {}
        other = None if self.by_vectors is None else self.by_vectors.probabilities(self._compared(vectors))
        for index, criterion in enumerate(self.settings["criteria"]):
            values = logits[:, index].astype(np.float64)
            if other is not None:
                weight = self.settings["by_vectors"]["weights"][index]
                values = _logit((1 - weight) * _sigmoid(values) + weight * other[:, index])
            slope, offset = self.settings["vote_shares"][index]
            columns[f"probability/{criterion}"] = _sigmoid(values)
            columns[f"decision/{criterion}"] = _sigmoid(values) > self.settings["thresholds"][index]
            columns[f"vote_share/{criterion}"] = _sigmoid(slope * values + offset)
        return columns

    def _compared(self, vectors: dict[str, Array]) -> Array:
        return vectors[self.settings["by_vectors"]["space"]]

    def _neighbours(self, vectors: dict[str, Array], number: int) -> dict[str, list[list[dict[str, Any]]]]:
        judge = self.by_vectors
        columns = {}
        reasons = zip(self.settings["criteria"], judge.reasons(self._compared(vectors)), strict=True)
        for index, (criterion, found) in enumerate(reasons):
            columns[f"neighbours/{criterion}"] = [
                [
                    self.training_texts[row]
                    | {
                        "yes_votes": int(judge.yes_votes[row, index]),
                        "num_votes": int(judge.num_votes[row, index]),
                        "similarity": float(similarity),
                        "weight": float(weight),
                    }
                    for row, similarity, weight in list(zip(*response, strict=True))[:number]
                ]
                for response in zip(found.rows, found.similarity, found.weight, strict=True)
            ]
        return columns

    def _judge(self, tokens: list[list[int]]) -> tuple[Array, ...]:
        """Logits, features and embeddings, each [rows, …].

        A server calls from several threads. Small requests that wait for their turn are judged in the same batches.
        """
        if len(tokens) > MOST_JOINED:
            return self._judge_rows(tokens)
        answer: Future[tuple[Array, ...]] = Future()
        self.waiting.append((tokens, answer))
        with self.turn:
            if not answer.done():
                self._judge_waiting()
        return answer.result()

    def _judge_waiting(self) -> None:
        together = self.waiting[:]
        del self.waiting[: len(together)]
        try:
            columns = self._judge_rows([row for tokens, _ in together for row in tokens])
        except BaseException as error:
            for _, answer in together:
                answer.set_exception(error)
            raise
        end = 0
        for tokens, answer in together:
            start, end = end, end + len(tokens)
            answer.set_result(tuple(column[start:end] for column in columns))

    def _judge_rows(self, tokens: list[list[int]]) -> tuple[Array, ...]:
        widths = (len(self.settings["criteria"]), self.network.hidden, self.settings["projection_dim"])
        columns = tuple(np.zeros((len(tokens), width), dtype=np.float32) for width in widths)
        order = sorted(range(len(tokens)), key=lambda row: -len(tokens[row]))
        for start in range(0, len(order), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            width = len(tokens[rows[0]])
            padded = [tokens[row] + [self.settings["pad_token_id"]] * (width - len(tokens[row])) for row in rows]
            mask = [[1] * len(tokens[row]) + [0] * (width - len(tokens[row])) for row in rows]
            with torch.inference_mode(), torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
                output = self.network(torch.tensor(padded, device=self.device), torch.tensor(mask, device=self.device))
            for column, part in zip(columns, output, strict=True):
                column[rows] = part.cpu().numpy()
        return columns

    def tokens(self, contexts: Iterable[Any], responses: Iterable[str]) -> list[list[int]]:
        """[CLS] prefix turn [SEP] turn [SEP] response [SEP]; if that is too long, the oldest context is left out."""
        rows = [
            ([_composed(turn) for turn in _turns(context)], _composed(response))
            for context, response in zip(contexts, responses, strict=True)
        ]
        prefix = _composed(self.settings["prefix"])
        texts = list(dict.fromkeys([prefix, *(text for turns, response in rows for text in (*turns, response))]))
        pieces = dict(zip(texts, self.tokenizer(texts, add_special_tokens=False)["input_ids"], strict=True))
        first = self.tokenizer.cls_token_id
        start = ([] if first is None else [first]) + pieces[prefix]
        return [self._joined(start, [pieces[turn] for turn in turns], pieces[response]) for turns, response in rows]

    def _joined(self, start: list[int], turns: list[list[int]], answer: list[int]) -> list[int]:
        separator, longest = self.settings["sep_token_id"], self.settings["max_length"]
        answer = answer[: longest - len(start) - 1]
        room = longest - len(start) - len(answer) - 1
        kept: list[int] = []
        for turn in reversed(turns):
            if room < 2:
                break
            turn = turn[-(room - 1) :]
            kept = [*turn, separator, *kept]
            room -= len(turn) + 1
        return [*start, *kept, *answer, separator]


def _autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The precision of the training if this device is fast at it, else None, which means full precision."""
    if device.type == "cuda":
        fast = ["fp16", "bf16"] if torch.cuda.is_bf16_supported(including_emulation=False) else ["fp16"]
    else:
        fast = ["bf16"] if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else []
    return {"bf16": torch.bfloat16, "fp16": torch.float16}[precision] if precision in fast else None


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)  # as in training


def _turns(context: Any) -> list[str]:
    """The turns that are not empty; a missing context (None, or NaN as pandas has it) has none."""
    if context is None or (isinstance(context, float) and math.isnan(context)):
        return []
    turns = [context] if isinstance(context, str) else context
    if not isinstance(turns, list | tuple | np.ndarray) or not all(isinstance(turn, str) for turn in turns):
        raise InputError(f"context must be a list of turns or one text, got {context!r:.40}")
    return [turn for turn in turns if turn.strip()]


def _logit(probability: Array) -> Array:
    return np.asarray(torch.logit(torch.from_numpy(probability), eps=1e-12))


def _sigmoid(values: Array) -> Array:
    return np.asarray(torch.sigmoid(torch.from_numpy(values)))


mlflow.models.set_model(Judge())

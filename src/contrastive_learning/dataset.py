"""Tokenised splits: made once, cached on disk, memory-mapped, shared by later runs and by processes."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from contrastive_learning.encoders import PretrainedEncoder, ScratchEncoder
from contrastive_learning.responses import DataSource, RatedResponse, Splits
from contrastive_learning.samplers import Examples

SPLITS = ("train", "valid", "test", "test_ood")
CACHE_VERSION = 1  # raise when the layout of the files or the form of the input changes


class Batch(NamedTuple):
    input_ids: Tensor  # [batch, tokens], padded on the right
    attention_mask: Tensor  # [batch, tokens]
    yes_votes: Tensor  # [batch, criteria]
    num_votes: Tensor  # [batch, criteria], 0 = not judged


class TokenizedSplit(Dataset[int]):
    """One split as memory-mapped columns. Indexing returns the index: `collate` builds the batch at once."""

    def __init__(self, table: pa.Table, pad_token_id: int) -> None:
        tokens = table["input_ids"].chunk(0) if len(table) else pa.array([], pa.list_(pa.int32()))
        self._tokens: NDArray[np.int32] = tokens.values.to_numpy(zero_copy_only=True)
        self._offsets: NDArray[np.int32] = tokens.offsets.to_numpy(zero_copy_only=True)
        self.yes_votes = _matrix(table["yes_votes"])  # [examples, criteria]
        self.num_votes = _matrix(table["num_votes"])
        self.pad_token_id = pad_token_id
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: int) -> int:
        return index

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens in each example."""
        return np.diff(self._offsets)

    def column(self, name: str) -> list[Any]:
        """id, domain, context or response of every example."""
        values: list[Any] = self._table[name].to_pylist()
        return values

    def collate(self, indices: Sequence[int]) -> dict[str, Tensor]:
        width = int(self.lengths[indices].max())
        input_ids = np.full((len(indices), width), self.pad_token_id, dtype=np.int64)
        attention_mask = np.zeros((len(indices), width), dtype=np.int64)
        for row, index in enumerate(indices):
            tokens = self._tokens[self._offsets[index] : self._offsets[index + 1]]
            input_ids[row, : len(tokens)] = tokens
            attention_mask[row, : len(tokens)] = 1
        batch = Batch(
            torch.from_numpy(input_ids),
            torch.from_numpy(attention_mask),
            torch.from_numpy(self.yes_votes[indices].astype(np.float32)),
            torch.from_numpy(self.num_votes[indices].astype(np.float32)),
        )
        return batch._asdict() | {"index": torch.as_tensor(indices)}  # [batch], row of each example in the split

    def examples(self) -> Examples:
        """What a sampler needs to know."""
        numbers: dict[bytes, int] = {}
        rows = (self._tokens[start:end] for start, end in zip(self._offsets[:-1], self._offsets[1:], strict=True))
        texts = np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in rows], dtype=np.int64)
        return Examples(self.yes_votes, self.num_votes, self.lengths, texts)

    def sample(self, num_examples: int, seed: int) -> "TokenizedSplit":
        """`num_examples` of this split at random; a larger sample of the same seed holds the smaller one."""
        rows = np.random.default_rng(seed).permutation(len(self))[:num_examples]
        return TokenizedSplit(self._table.take(np.sort(rows)).combine_chunks(), self.pad_token_id)

    def batches_by_length(self, batch_size: int) -> list[list[int]]:
        """Index batches of similar length: evaluation in this order pads almost nothing."""
        order = np.argsort(self.lengths, kind="stable")[::-1]
        return [order[start : start + batch_size].tolist() for start in range(0, len(order), batch_size)]


@dataclass(frozen=True)
class TokenizedData:
    criteria: tuple[str, ...]
    splits: dict[str, TokenizedSplit]  # only those with examples
    tokenizer: PreTrainedTokenizerFast
    remarks: list[str]
    fingerprint: str  # of the data, not of the tokenizer

    def with_training_sample(self, num_examples: int | None, seed: int) -> "TokenizedData":
        """The same data with so many training examples; None = all."""
        if num_examples is None:
            return self
        if not 2 <= num_examples <= len(self.splits["train"]):
            raise ValueError(f"data.train_examples must be 2..{len(self.splits['train'])}, got {num_examples}")
        return replace(self, splits=self.splits | {"train": self.splits["train"].sample(num_examples, seed)})

    @property
    def yes_rates(self) -> list[float]:
        """Share of yes among the training votes, a criterion each."""
        train = self.splits["train"]
        rates: list[float] = (train.yes_votes.sum(0) / np.maximum(train.num_votes.sum(0), 1)).tolist()
        return rates


def tokenize(
    source: DataSource,
    encoder: PretrainedEncoder | ScratchEncoder,
    *,
    max_length: int,
    prefix: str,
    cache_dir: Path,
) -> TokenizedData:
    """Read, check and tokenise `source`, or map what an earlier run left in `cache_dir`."""
    if max_length < 8:
        raise ValueError(f"data.max_length must be at least 8, got {max_length}")
    fingerprint = source.fingerprint()
    settings = {"version": CACHE_VERSION, "data": fingerprint, "max_length": max_length, "prefix": prefix}
    settings |= {"encoder": type(encoder).__name__, "tokenizer": _tokenizer_key(encoder)}
    folder = cache_dir / hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:24]
    cache_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not _is_complete(folder):
            _write(folder, source.load(), encoder, max_length, prefix)
    return _map(folder, fingerprint)


def encode(
    responses: Iterable[RatedResponse], tokenizer: PreTrainedTokenizerFast, *, max_length: int, prefix: str
) -> list[list[int]]:
    """[CLS] prefix turn [SEP] turn [SEP] response [SEP].

    When too long, the oldest context goes first, the response last.
    """
    responses = list(responses)
    texts = [text for item in responses for text in (*item.context, item.response)]
    pieces = iter(tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else [])
    before = tokenizer(prefix, add_special_tokens=False)["input_ids"] if prefix else []
    start = [token for token in (tokenizer.cls_token_id,) if token is not None]
    encoded = []
    for item in responses:
        turns = [next(pieces) for _ in item.context]
        response = next(pieces)
        encoded.append(_join(start + before, turns, response, tokenizer.sep_token_id, max_length))
    return encoded


def _join(start: list[int], turns: list[list[int]], response: list[int], separator: int, max_length: int) -> list[int]:
    response = response[: max_length - len(start) - 1]
    room = max_length - len(start) - len(response) - 1
    kept: list[int] = []
    for turn in reversed(turns):
        if room < 2:
            break
        turn = turn[-(room - 1) :]  # of a turn that fits in part, its end
        kept = [*turn, separator, *kept]
        room -= len(turn) + 1
    return [*start, *kept, *response, separator]


def _write(
    folder: Path, data: Splits, encoder: PretrainedEncoder | ScratchEncoder, max_length: int, prefix: str
) -> None:
    tokenizer = encoder.tokenizer(text for item in data.train for text in (*item.context, item.response))
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".writing-"))
    try:
        tokenizer.save_pretrained(temporary / "tokenizer")
        for name in SPLITS:
            _write_split(temporary / f"{name}.arrow", getattr(data, name), data.criteria, tokenizer, max_length, prefix)
        sizes = {path.name: path.stat().st_size for path in temporary.glob("*.arrow")}
        meta = {"criteria": data.criteria, "remarks": data.remarks, "sizes": sizes}
        (temporary / "meta.json").write_text(json.dumps(meta, ensure_ascii=False), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)  # what an interrupted or damaged write may have left
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_split(
    path: Path,
    responses: Sequence[RatedResponse],
    criteria: Sequence[str],
    tokenizer: PreTrainedTokenizerFast,
    max_length: int,
    prefix: str,
) -> None:
    votes = [[item.votes.get(criterion, (0, 0)) for criterion in criteria] for item in responses]
    counts = pa.list_(pa.int16(), len(criteria))
    table = pa.table(
        {
            "id": pa.array([item.id for item in responses], pa.string()),
            "domain": pa.array([item.domain for item in responses], pa.string()),
            "context": pa.array([list(item.context) for item in responses], pa.list_(pa.string())),
            "response": pa.array([item.response for item in responses], pa.string()),
            "input_ids": pa.array(
                encode(responses, tokenizer, max_length=max_length, prefix=prefix), pa.list_(pa.int32())
            ),
            "yes_votes": pa.array([[yes for yes, _ in row] for row in votes], counts),
            "num_votes": pa.array([[total for _, total in row] for row in votes], counts),
        }
    )
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())


def _map(folder: Path, fingerprint: str) -> TokenizedData:
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")
    splits = {}
    for name in SPLITS:
        table = pa.ipc.open_file(pa.memory_map(str(folder / f"{name}.arrow"))).read_all()
        if len(table):
            splits[name] = TokenizedSplit(table, tokenizer.pad_token_id)
    return TokenizedData(tuple(meta["criteria"]), splits, tokenizer, meta["remarks"], fingerprint)


def _is_complete(folder: Path) -> bool:
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == size for name, size in meta["sizes"].items())
    except (OSError, ValueError, KeyError):
        return False


def _tokenizer_key(encoder: PretrainedEncoder | ScratchEncoder) -> str:
    if isinstance(encoder, ScratchEncoder):
        return f"bpe {encoder.vocab_size}"
    files = sorted(Path(encoder.name).glob("*token*")) + sorted(Path(encoder.name).glob("vocab*"))
    digest = hashlib.sha256(encoder.name.encode() if not files else b"")
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _matrix(column: pa.ChunkedArray) -> NDArray[np.int64]:
    width = column.type.list_size
    if not len(column):
        return np.zeros((0, width), dtype=np.int64)
    flat: NDArray[np.int16] = column.chunk(0).flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, width).astype(np.int64)

"""Tokenised splits: written once to a cache on disk, then memory-mapped by later runs and by all processes."""

import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedTokenizerFast

from contrastive_learning.by_length import cut_by_length
from contrastive_learning.choices import check_choice
from contrastive_learning.data.responses import SPLITS, UNJUDGED, DataSource
from contrastive_learning.data.rows import composed
from contrastive_learning.data.token_files import digest_of, write
from contrastive_learning.model.encoders import PretrainedEncoder, ScratchEncoder
from contrastive_learning.samplers.examples import Examples, IntArray

CACHE_VERSION = 3  # raise when the layout of the files or the form of the input changes


class TokenizedSplit(Dataset[int]):
    """One split as memory-mapped columns. Indexing returns the index: `collate` builds the batch at once.

    `tokens` holds the inputs of all responses, one after the other.
    """

    def __init__(self, table: pa.Table, tokens: NDArray[np.int32], pad_token_id: int) -> None:
        self.lengths: NDArray[np.int32] = table["num_tokens"].to_numpy()  # [responses], tokens
        self.yes_votes = _matrix(table["yes_votes"])  # [responses, criteria]
        self.num_votes = _matrix(table["num_votes"])
        self.pad_token_id = pad_token_id
        self._starts: NDArray[np.int64] = table["first_token"].to_numpy()
        self._tokens, self._table = tokens, table

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: int) -> int:
        return index

    def column(self, name: str, rows: IntArray | None = None) -> list[Any]:
        """The column id, domain, context or response, of `rows` or of every response."""
        column = self._table[name]
        values: list[Any] = (column if rows is None else column.take(rows)).to_pylist()
        return values

    def collate(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The fields of a `Batch`, on the CPU."""
        starts, lengths = self._starts[indices], self.lengths[indices]
        is_token = np.arange(lengths.max()) < lengths[:, None]  # [batch, tokens]
        input_ids = np.full(is_token.shape, self.pad_token_id, dtype=np.int64)
        rows = zip(starts, starts + lengths, strict=True)
        input_ids[is_token] = np.concatenate([self._tokens[start:end] for start, end in rows])
        return {
            "input_ids": torch.from_numpy(input_ids),
            "attention_mask": torch.from_numpy(is_token.astype(np.int64)),
            "yes_votes": torch.from_numpy(self.yes_votes[indices].astype(np.float32)),
            "num_votes": torch.from_numpy(self.num_votes[indices].astype(np.float32)),
            "index": torch.as_tensor(indices),
            "domains": torch.from_numpy(self.domains[indices]),
        }

    @cached_property
    def domains(self) -> NDArray[np.int64]:
        """A number for the domain of each response [responses], the same in every split."""
        column = self._table["domain"].combine_chunks().dictionary_encode()
        numbers = [zlib.crc32(domain.encode()) for domain in column.dictionary.to_pylist()]
        domains: NDArray[np.int64] = np.array(numbers, dtype=np.int64)[column.indices.to_numpy()]
        return domains

    def examples(self) -> Examples:
        """The columns that a batch sampler needs."""
        texts = self._table["text_number"].to_numpy()
        return Examples(self.yes_votes, self.num_votes, self.lengths, texts, self.domains)

    def subset(self, num_responses: int, seed: int) -> "TokenizedSplit":
        """A random subset of `num_responses`; a larger subset of the same seed holds the smaller one."""
        return self.of(np.sort(np.random.default_rng(seed).permutation(len(self))[:num_responses]))

    def of(self, rows: IntArray) -> "TokenizedSplit":
        """The responses `rows`."""
        return TokenizedSplit(self._table.take(rows), self._tokens, self.pad_token_id)

    def with_inputs(self, rows: IntArray, inputs: Sequence[Sequence[int]]) -> "TokenizedSplit":
        """The responses `rows`, with other tokens: one sequence each."""
        lengths = np.array([len(tokens) for tokens in inputs], dtype=np.int32)
        table = self._table.take(rows)
        for name, values in (("first_token", np.cumsum(lengths, dtype=np.int64) - lengths), ("num_tokens", lengths)):
            table = table.set_column(table.column_names.index(name), name, pa.array(values))
        return TokenizedSplit(table, np.concatenate([np.asarray(tokens) for tokens in inputs]), self.pad_token_id)

    def batches_by_length(self, *, max_rows: int | None = None, max_tokens: int | None = None) -> list[list[int]]:
        """Batches of indices, of similar length each: evaluation in this order pads almost nothing. With as many tokens
        in each, padding included, it takes a tenth less time on CPUs than with as many responses.
        """
        return cut_by_length(self.lengths.tolist(), max_rows=max_rows, max_tokens=max_tokens)


@dataclass(frozen=True)
class TokenizedData:
    criteria: tuple[str, ...]
    splits: dict[str, TokenizedSplit]  # only those with responses
    tokenizer: PreTrainedTokenizerFast
    remarks: list[str]
    fingerprint: str  # of the data, not of the tokenizer
    unjudged: TokenizedSplit | None = None  # responses without votes; None if there are none

    def loader(self, split: str, batch_size: int, *, shuffle: bool = False) -> "DataLoader[int]":
        """Batches of `batch_size` responses for ContrastiveTrainer: of similar lengths or, if `shuffle`, at random.

        Raises ValueError if the data have no such split.
        """
        part = self.splits[check_choice("split", split, self.splits)]
        if shuffle:
            return DataLoader(part, batch_size, shuffle=True, collate_fn=part.collate)
        return DataLoader(part, batch_sampler=part.batches_by_length(max_rows=batch_size), collate_fn=part.collate)

    def held_out_loader(self, split: str, num_tokens: int) -> "DataLoader[int]":
        """Batches of at most `num_tokens` tokens, for evaluation."""
        part = self.splits[split]
        return DataLoader(part, batch_sampler=part.batches_by_length(max_tokens=num_tokens), collate_fn=part.collate)

    def with_training_subset(self, num_responses: int | None, seed: int) -> "TokenizedData":
        """The same data with a random subset of `num_responses` training responses; None = all of them."""
        if num_responses is None:
            return self
        if not 2 <= num_responses <= len(self.splits["train"]):
            raise ValueError(f"data.train_examples must be 2..{len(self.splits['train'])}, got {num_responses}")
        return replace(self, splits=self.splits | {"train": self.splits["train"].subset(num_responses, seed)})

    @property
    def yes_rates(self) -> list[float]:
        """Share of yes among the training votes, per criterion."""
        train = self.splits["train"]
        rates: list[float] = (train.yes_votes.sum(0) / np.maximum(train.num_votes.sum(0), 1)).tolist()
        return rates


def tokenize(
    source: DataSource,
    encoder: PretrainedEncoder | ScratchEncoder | str,
    *,
    max_length: int = 256,
    prefix: str = "",
    cache_dir: Path = Path(".cache/tokenized"),
) -> TokenizedData:
    """Read, check and tokenise `source`, or map what an earlier run wrote to `cache_dir`.

    encoder: whose tokenizer is used; or its hub id or folder. max_length: tokens per response with its context.
    prefix: text before each input, "" for none. Raises ValueError for what is wrong with options or data.

    >>> tokenize(VotesData("judged.jsonl"), "klue/roberta-base").loader("train", 32, shuffle=True)  # doctest: +SKIP
    """
    if isinstance(encoder, str):
        encoder = PretrainedEncoder(encoder)
    if max_length < 8:
        raise ValueError(f"data.max_length must be at least 8, got {max_length}")
    prefix = composed(prefix)  # as the texts are
    fingerprint = source.fingerprint()
    settings = {"version": CACHE_VERSION, "data": fingerprint, "max_length": max_length, "prefix": prefix}
    settings |= {"encoder": type(encoder).__name__, "tokenizer": _tokenizer_key(encoder)}
    folder = cache_dir / hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:24]
    _make_writable(cache_dir)
    with FileLock(f"{folder}.lock"):
        if not _is_whole(folder):
            write(folder, source.load(), encoder, max_length, prefix)
    return _map(folder, fingerprint)


def _make_writable(cache_dir: Path) -> None:
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"data.cache_dir must be a folder, got {cache_dir}: {error.strerror}") from error
    if not os.access(cache_dir, os.W_OK):
        raise ValueError(f"data.cache_dir must be a folder that can be written, got {cache_dir}")


def _map(folder: Path, fingerprint: str) -> TokenizedData:
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")
    splits = {}
    for name in (*SPLITS, UNJUDGED):
        path = folder / f"{name}.arrow"
        if path.exists():
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            tokens = np.asarray(np.memmap(path.with_suffix(".tokens"), dtype=np.int32, mode="r"))
            splits[name] = TokenizedSplit(table, tokens, tokenizer.pad_token_id)
    unjudged = splits.pop(UNJUDGED, None)
    return TokenizedData(tuple(meta["criteria"]), splits, tokenizer, meta["remarks"], fingerprint, unjudged)


def _is_whole(folder: Path) -> bool:
    """Whether every file has its recorded digest; a power failure can leave holes in a file of the right size."""
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        return all(digest_of(folder / name) == digest for name, digest in meta["digests"].items())
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
    flat = np.concatenate([chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks])
    return flat.reshape(-1, width).astype(np.int64)

"""Writes tokenised splits: a folder of Arrow files with the columns, and files with the tokens of all rows."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerFast

from contrastive_learning.data.inputs import encode, tokenizer_for
from contrastive_learning.data.responses import SPLITS, UNJUDGED, RatedResponse, Splits
from contrastive_learning.model.encoders import PretrainedEncoder, ScratchEncoder

ROWS_AT_A_TIME = 4096  # tokenised and written together, so that memory does not grow with the data
MOST_UNKNOWN = 0.1  # share of unknown tokens in a split above which a remark says so
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "domain": pa.string(),
        "context": pa.list_(pa.string()),
        "response": pa.string(),
        "first_token": pa.int64(),
        "num_tokens": pa.int32(),
        "text_number": pa.int64(),  # equal for equal inputs
    }
)  # and the votes


def write(
    folder: Path, data: Splits, encoder: PretrainedEncoder | ScratchEncoder, max_length: int, prefix: str
) -> None:
    """Write all splits of `data` to `folder`, whole or not at all; meta.json has a digest of every file."""
    tokenizer = tokenizer_for(encoder, data.train)
    temporary = folder.with_name(f".writing-{folder.name}")  # one at a time: the caller holds the folder's lock
    shutil.rmtree(temporary, ignore_errors=True)  # left by a killed process
    temporary.mkdir()
    try:
        tokenizer.save_pretrained(temporary / "tokenizer")
        numbers: dict[str, dict[bytes, int]] = {name: {} for name in SPLITS}
        numbers[UNJUDGED] = numbers["train"]  # they share batches
        for name, numbers_of_split in numbers.items():
            if responses := getattr(data, name):
                path = temporary / f"{name}.arrow"
                _write_split(
                    path,
                    responses,
                    data.criteria,
                    tokenizer,
                    numbers_of_split,
                    max_length=max_length,
                    prefix=prefix,
                )
        meta = {"criteria": data.criteria, "remarks": [*data.remarks, *_unknown_tokens(temporary, tokenizer)]}
        digests = {path.name: digest_of(path) for path in temporary.glob("*.*") if path.is_file()}
        (temporary / "meta.json").write_text(
            json.dumps(meta | {"digests": digests}, ensure_ascii=False), encoding="utf-8"
        )
        shutil.rmtree(folder, ignore_errors=True)  # left by an interrupted or damaged write
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _unknown_tokens(folder: Path, tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """A remark per split of which the tokenizer does not know more than MOST_UNKNOWN of the tokens."""
    remarks = []
    for path in (folder / f"{name}.tokens" for name in (*SPLITS, UNJUDGED)):
        if not path.exists() or tokenizer.unk_token_id is None:
            continue
        tokens = np.fromfile(path, dtype=np.int32)
        of_text = tokens[~np.isin(tokens, [tokenizer.cls_token_id, tokenizer.sep_token_id])]
        share = float(np.mean(of_text == tokenizer.unk_token_id)) if len(of_text) > 0 else 0.0
        if share > MOST_UNKNOWN:
            remarks.append(
                f"{path.stem}: {share:.0%} of the tokens are unknown to the encoder ({tokenizer.unk_token}), so it "
                "cannot read them: choose an encoder of the language and script of the data"
            )
    return remarks


def _write_split(
    path: Path,
    responses: Sequence[RatedResponse],
    criteria: Sequence[str],
    tokenizer: PreTrainedTokenizerFast,
    numbers: dict[bytes, int],
    *,
    max_length: int,
    prefix: str,
) -> None:
    """Write the columns to `path`, and the tokens of all rows to the file .tokens next to it.

    numbers: of each distinct input of what is written before; this adds its own.
    """
    counts, schema = pa.list_(pa.int16(), len(criteria)), SCHEMA
    for name in ("yes_votes", "num_votes"):
        schema = schema.append(pa.field(name, counts))
    first_token = 0
    with (
        path.with_suffix(".tokens").open("wb") as tokens,
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        for start in range(0, len(responses), ROWS_AT_A_TIME):
            some = responses[start : start + ROWS_AT_A_TIME]
            encoded = encode(some, tokenizer, max_length=max_length, prefix=prefix)
            rows = [np.array(row, dtype=np.int32).tobytes() for row in encoded]
            tokens.write(b"".join(rows))
            lengths = np.array([len(row) for row in encoded])
            keys = [hashlib.blake2b(row, digest_size=16).digest() for row in rows]
            votes = [[item.votes.get(criterion, (0, 0)) for criterion in criteria] for item in some]
            columns = {
                "id": [item.id for item in some],
                "domain": [item.domain for item in some],
                "context": [item.context for item in some],
                "response": [item.response for item in some],
                "first_token": first_token + np.cumsum(lengths) - lengths,
                "num_tokens": lengths,
                "text_number": [numbers.setdefault(key, len(numbers)) for key in keys],
                "yes_votes": [[yes for yes, _ in row] for row in votes],
                "num_votes": [[total for _, total in row] for row in votes],
            }
            writer.write_batch(pa.record_batch(columns, schema))
            first_token += int(lengths.sum())


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

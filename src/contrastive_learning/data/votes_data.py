"""The user's own responses with votes, in JSON Lines, a JSON array, CSV or Parquet."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from contrastive_learning.data.files import digest, existing
from contrastive_learning.data.folders import tables_in
from contrastive_learning.data.responses import SPLITS, RatedResponse, Splits
from contrastive_learning.data.rows import Row, field, is_missing, label, shown, text
from contrastive_learning.data.splits import Parts, SplitRules, make_splits
from contrastive_learning.data.tables import (
    READABLE,
    READERS,
    Table,
    files_of,
    place,
    read_rows,
    suffix_of,
    table_remarks,
)
from contrastive_learning.data.vote_counts import VoteCounter, parsed, row_votes

FORMAT_VERSION = 2  # raise when the same files come to mean something else


class VotesData:
    """One row per response: `id, domain, context, response, votes, group`; only response and votes are required.

    - context: turns, oldest first, as a list (in CSV a JSON list), or one text.
    - votes: {criterion: votes}, in CSV and Parquet also columns `votes.<criterion>`, or `<criterion>_yes_count` with
      `<criterion>_no_count`. Votes are 1/0, true/false, yes/no or y/n; an empty or missing list means no votes.
    - group, or conversation_id: responses that must stay in one split. By default these are the responses of one file
      with the same first turn and domain.
    - id: by default split and line, such as train:12. domain: by default "default". Other fields are ignored.

    `path` is a file, or a folder with train.* and, if there are such files, valid.*, test.* and test_ood.*. A missing
    valid or test is drawn from train (see splits.draw_groups).
    """

    def __init__(
        self,
        path: str | Path,
        *,
        valid_path: str | Path | None,
        test_path: str | Path | None,
        test_ood_path: str | Path | None,
        criteria: Sequence[str] | None,
        valid_fraction: float,
        test_fraction: float,
        held_out_domains: Sequence[str],
        split_seed: int,
    ) -> None:
        self._path = path
        self._given = {"valid": valid_path, "test": test_path, "test_ood": test_ood_path}
        self._rules = SplitRules(criteria, valid_fraction, test_fraction, held_out_domains, split_seed)

    def fingerprint(self) -> str:
        tables, _ = self._tables()
        files = {f"{split}/{file.name}": file for split, table in tables.items() for file in files_of(table)}
        return digest(files, asdict(self._rules) | {"format": f"votes {FORMAT_VERSION}"})

    def load(self) -> Splits:
        tables, remarks = self._tables()
        remarks += [remark for table in tables.values() for remark in table_remarks(table)]
        wanted = self._rules.criteria
        reader = _Reader(VoteCounter(wanted))
        parts: Parts = {"train": reader.read("train", tables["train"])}
        found = reader.counter.found
        reader.counter = VoteCounter(wanted, known=found if wanted is None else None)
        for split in list(tables)[1:]:
            parts[split] = reader.read(split, tables[split])
        return make_splits(parts, self._rules, found, remarks + reader.remarks)

    def _tables(self) -> tuple[dict[str, Table], list[str]]:
        """Split -> its table, train first, and remarks about files that are not read."""
        path = existing(self._path, "data.path")
        tables: dict[str, Table] = {"train": path}
        remarks: list[str] = []
        if path.is_dir():
            tables, remarks = tables_in(path)
        for split, given in self._given.items():
            if given is not None:
                tables[split] = existing(given, f"data.source.{split}_path")
        files = [file for table in tables.values() for file in files_of(table)]
        for split, table in tables.items():
            if isinstance(table, Path) and suffix_of(table) not in READERS:
                option = "data.path" if split == "train" else f"data.source.{split}_path"
                raise ValueError(f"{option} must end in {READABLE}; got {table}")
        if len({file.resolve() for file in files}) < len(files):
            raise ValueError(f"every split must have its own file, got {', '.join(map(str, tables.values()))}")
        return {split: tables[split] for split in SPLITS if split in tables}, remarks


class _Reader:
    """Reads files one after another and checks that ids are unique across all of them."""

    def __init__(self, counter: VoteCounter) -> None:
        self.counter = counter
        self.remarks: list[str] = []
        self._places: dict[str, tuple[Table, int]] = {}  # id -> table and number of the row

    def read(self, split: str, path: Table) -> list[RatedResponse]:
        responses = []
        line = without_votes = 0
        for line, row in read_rows(path):
            try:
                response = self._response(row, split, path, line)
            except ValueError as error:
                raise ValueError(f"{place(path, line)}: {error}") from error
            if response.votes:
                responses.append(response)
            else:
                without_votes += 1
        if not responses:
            raise ValueError(
                f"{path} must hold responses with votes, got {f'{without_votes} without votes' if line else 'none'}"
            )
        if without_votes:
            self.remarks.append(f"{split}: {without_votes:,} responses left out: no votes")
        return responses

    def _response(self, row: Row, split: str, path: Table, line: int) -> RatedResponse:
        response = text(field(row, "response"), "response")
        if not response.strip():
            raise ValueError(f"response must not be empty, got {shown(response)}")
        name = f"{split}:{line}" if is_missing(row.get("id")) else label(row["id"], "id")
        first = self._places.setdefault(name, (path, line))
        if first != (path, line):
            raise ValueError(f"id must be unique, got {shown(name)} also at {place(*first)}")
        domain = "default" if is_missing(row.get("domain")) else label(row["domain"], "domain")
        context = _turns(row.get("context"))
        group = _given_group(row) or (_guessed_group(split, domain, context[0]) if context else name)
        return RatedResponse(name, domain, context, response, self.counter.count(row_votes(row)), group)


def _turns(value: object) -> tuple[str, ...]:
    if is_missing(value):
        return ()
    if isinstance(value, str):
        looks_like_list = re.match(r"""\[\s*["'\]]""", value) is not None
        value = parsed(value) if looks_like_list else [value]
    if not isinstance(value, list):
        raise ValueError(f"context must be a list of turns or one text, got {shown(value)}")
    try:
        "".join(value).encode()
    except (TypeError, UnicodeEncodeError):
        value = [text(turn, f"context[{index}]") for index, turn in enumerate(value)]
    return tuple(value) if all(map(str.strip, value)) else tuple(turn for turn in value if turn.strip())


def _given_group(row: Row) -> str | None:
    for name in ("group", "conversation_id"):
        if not is_missing(row.get(name)):
            return label(row[name], name)
    return None


def _guessed_group(split: str, domain: str, first_turn: str) -> str:
    return hashlib.blake2b("\0".join((split, domain, first_turn)).encode(), digest_size=8).hexdigest()

"""The user's own responses with votes, in the files and folders that `tables` and `folders` read."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from contrastive_learning.data.files import digest, existing
from contrastive_learning.data.folders import table_of_split, tables_in
from contrastive_learning.data.reading import Reader, ReadingRules
from contrastive_learning.data.responses import SPLITS, UNJUDGED, Splits
from contrastive_learning.data.splits import Parts, SplitRules, make_splits
from contrastive_learning.data.tables import READABLE, READERS, Table, Traces, files_of, suffix_of, table_remarks
from contrastive_learning.data.traces import IN_STORE, traces_in

FORMAT_VERSION = 3  # raise when the same files come to mean something else


class VotesData:
    """Judged responses in a form that is known by its columns (see `forms`), which a remark names.

    The plain form has one row per response: `id, domain, context, response, votes, group`.

    - context: turns, oldest first, as a list (in CSV a JSON list), or one text.
    - votes: {criterion: votes}, in CSV and Parquet also columns `votes.<criterion>`, or `<criterion>_yes_count` with
      `<criterion>_no_count`. See `answers` for what is a vote; an empty or missing list means no votes.
    - group, or conversation_id: responses that must stay in one split. By default these are the responses of one file
      with the same first turn and domain.
    - Other spellings and some synonyms of these names are read as well (see columns.SYNONYMS).
    - id: by default split and line, such as train:12; then equal responses are one, with the votes of all their rows.
      domain: by default "default". Other columns are named in a remark.

    `path` is a file (see tables.READERS) or a folder with train and, if there are such files, valid, test and test_ood
    (see folders.tables_in). The other paths are files, or folders that hold one split (see folders.table_of_split).
    Each may be mlflow:EXPERIMENT instead, the judged traces of an experiment in `store` (see traces).
    A missing valid or test is drawn from train (see splits.draw_groups).

    The defaults are those of conf/data/votes.yaml, which says what each option means.

    Responses of train without any votes, and all of `unjudged_path` (its votes, if there are any, are not used), become
    `Splits.unjudged`; see splits.make_splits for those that are left out.

    >>> splits = VotesData("judged.jsonl").load()  # doctest: +SKIP
    >>> len(splits.train), splits.criteria  # doctest: +SKIP
    (800, ('consistency', 'specificity'))
    """

    def __init__(
        self,
        path: str | Path,
        *,
        valid_path: str | Path | None = None,
        test_path: str | Path | None = None,
        test_ood_path: str | Path | None = None,
        unjudged_path: str | Path | None = None,
        format: str = "auto",
        yes_from: float | None = None,
        hash_annotators: bool = False,
        store: str = "sqlite:///mlflow.db",
        criteria: Sequence[str] | None = None,
        valid_fraction: float = 0.1,
        test_fraction: float = 0.1,
        held_out_domains: Sequence[str] = (),
        split_seed: int = 0,
    ) -> None:
        self._path = path
        self._given = {"valid": valid_path, "test": test_path, "test_ood": test_ood_path, UNJUDGED: unjudged_path}
        self._store = store
        self._traces: dict[str, Traces] = {}  # address -> what was read of it, once
        self._rules = SplitRules(criteria, valid_fraction, test_fraction, held_out_domains, split_seed)
        self._reading = ReadingRules(format, yes_from, hash_annotators, self._rules.criteria)

    def fingerprint(self) -> str:
        tables, _ = self._tables()
        files = {f"{split}/{file.name}": file for split, table in tables.items() for file in files_of(table)}
        reading = {f"reading.{name}": value for name, value in asdict(self._reading).items()}
        traces = {f"traces.{split}": table.rows for split, table in tables.items() if isinstance(table, Traces)}
        return digest(files, asdict(self._rules) | reading | {"format": f"votes {FORMAT_VERSION}"} | traces)

    def load(self) -> Splits:
        tables, remarks = self._tables()
        remarks += [remark for table in tables.values() for remark in table_remarks(table)]
        reader = Reader(self._reading)
        parts: Parts = {
            split: reader.read(split, table) for split, table in tables.items() if split != UNJUDGED
        }  # train first
        unjudged = reader.unjudged
        if UNJUDGED in tables:
            rows = reader.each(UNJUDGED, tables[UNJUDGED])
            unjudged = unjudged + [replace(item, votes={}, judgements=None) for item in rows]
        splits = make_splits(parts, self._rules, reader.found, remarks + reader.remarks(), unjudged=unjudged)
        return replace(splits, rows=reader.rows)

    def _tables(self) -> tuple[dict[str, Table], list[str]]:
        """Split -> its table, train first, and remarks about files that are not read."""
        path = self._table(self._path, "data.path")
        tables: dict[str, Table] = {"train": path}
        remarks: list[str] = []
        if isinstance(path, Path) and path.is_dir():
            tables, remarks = tables_in(path)
        for split, given in self._given.items():
            if given is not None:
                option = _option(split)
                tables[split] = there = self._table(given, option)
                if isinstance(there, Path) and there.is_dir():
                    tables[split], unread = table_of_split(there, option)
                    remarks += unread
        files = [file for table in tables.values() for file in files_of(table)]
        for split, table in tables.items():
            if isinstance(table, Path) and suffix_of(table) not in READERS:
                raise ValueError(f"{_option(split)} must end in {READABLE}; got {table}")
        if len({file.resolve() for file in files}) < len(files):
            raise ValueError(f"every split must have its own file, got {', '.join(map(str, tables.values()))}")
        return {split: tables[split] for split in (*SPLITS, UNJUDGED) if split in tables}, remarks

    def _table(self, given: str | Path, option: str) -> Path | Traces:
        """A file or folder, or the traces of an experiment."""
        address = str(given)
        if not address.startswith(IN_STORE):
            return existing(given, option)
        if address not in self._traces:
            self._traces[address] = traces_in(address, self._store)
        return self._traces[address]


def _option(split: str) -> str:
    """The option that gives the file of `split`."""
    return {"train": "data.path", UNJUDGED: "data.unjudged"}.get(split, f"data.source.{split}_path")

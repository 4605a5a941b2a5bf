"""Finds the split files of a folder, and names what else is there."""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from contrastive_learning.data.responses import SPLITS
from contrastive_learning.data.tables import READABLE, READERS, Shards, Table, files_of, suffix_of

SPLIT_NAMES: Mapping[str, str] = {  # as files and folders are called -> split
    **{split: split for split in SPLITS},
    **dict.fromkeys(("validation", "val", "dev", "eval"), "valid"),
}
SHARD = re.compile(r"(?P<name>.+?)-(?P<number>\d+)-of-(?P<total>\d+)(-[0-9a-f]+)?")  # a hub may add a hash
ABOUT = ("dataset_dict.json", "dataset_info.json", "dataset_infos.json", "state.json", "README.md")
MOST_NAMED = 20


def tables_in(folder: Path) -> tuple[dict[str, Table], list[str]]:
    """Split -> its table, and a remark that names everything in `folder` that is not read.

    The folder is what Hugging Face `datasets` saves (save_to_disk), or it holds for each split one file (train.csv),
    shards (train-00000-of-00002.parquet) or a folder of files (train/), all of them there or all in its folder data/.
    Raises ValueError if there are two candidates for a split, or none for train.
    """
    folder = folder.resolve()
    tables: dict[str, Table] = {}
    for split, table in _candidates(folder):
        if split in tables:
            two = " and ".join(str(_first(found).relative_to(folder)) for found in (tables[split], table))
            raise ValueError(f"{folder} must hold one candidate for {split}, got {two}")
        tables[split] = table
    if "train" not in tables:
        names = _listed([entry.name for entry in sorted(folder.iterdir())]) or "nothing"
        advice = "to read a single file, give its own path"
        raise ValueError(f"{folder} must hold train with one of {READABLE}; got {names}; {advice}")
    unread = list(_unread(folder, {file for table in tables.values() for file in files_of(table)}))
    known = f"only {', '.join(SPLITS)} are; validation, val, dev and eval mean valid"
    names = _listed([str(entry.relative_to(folder)) for entry in unread])
    return tables, [f"not read: {names} ({known})"] if unread else []


def table_of_split(folder: Path, option: str) -> tuple[Table, list[str]]:
    """The table of a folder that holds one split, and a remark that names what in it is not read.

    Its files are those of any folder that has one split, or have other names and one format. Raises ValueError, which
    begins with `option`, if there are several splits or formats, or nothing to read.
    """
    folder = folder.resolve()
    found = dict(_candidates(folder))
    tables = list(found.values()) or list(_in_split_folder(folder))
    if len(tables) != 1:
        names = _listed(list(found) or [entry.name for entry in sorted(folder.iterdir())]) or "nothing"
        raise ValueError(f"{option}: {folder} must hold one split, in files of one format; got {names}; name a file")
    names = _listed([str(entry.relative_to(folder)) for entry in _unread(folder, set(files_of(tables[0])))])
    return tables[0], [f"{option}: not read: {names}"] if names else []


def _candidates(folder: Path) -> Iterator[tuple[str, Table]]:
    if (folder / "dataset_dict.json").is_file():
        for name in _stated(folder / "dataset_dict.json", "splits"):
            if name in SPLIT_NAMES:
                yield SPLIT_NAMES[name], _saved(folder / name)
    elif (folder / "state.json").is_file():
        yield "train", _saved(folder)
    else:
        found = list(_named(folder))
        yield from found if found or not (folder / "data").is_dir() else _named(folder / "data")


def _named(folder: Path) -> Iterator[tuple[str, Table]]:
    """Tables of the files, shards and folders whose name is that of a split."""
    shards: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for entry in sorted(folder.iterdir()):
        suffix = "" if entry.is_dir() else suffix_of(entry)
        stem = entry.name.lower().removesuffix(suffix)
        shard = SHARD.fullmatch(stem)
        if entry.is_dir() and stem in SPLIT_NAMES:
            yield from ((SPLIT_NAMES[stem], table) for table in _in_split_folder(entry))
        elif suffix in READERS and stem in SPLIT_NAMES:
            yield SPLIT_NAMES[stem], entry
        elif suffix in READERS and shard and shard["name"] in SPLIT_NAMES:
            shards[shard["name"], suffix].append(entry)
    for (name, _), files in shards.items():
        _check_whole(files)
        yield SPLIT_NAMES[name], _table(files)


def _in_split_folder(folder: Path) -> Iterator[Table]:
    """One table per format, so that two formats are two candidates."""
    if (folder / "state.json").is_file():
        yield _saved(folder)
        return
    files: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(folder.iterdir()):
        if file.is_file() and suffix_of(file) in READERS and file.name not in ABOUT:
            files[suffix_of(file)].append(file)
    for of_suffix in files.values():
        if any(SHARD.fullmatch(file.name.removesuffix(suffix_of(file))) for file in of_suffix):
            _check_whole(of_suffix)
        yield _table(of_suffix)


def _check_whole(files: Sequence[Path]) -> None:
    """Raises ValueError if one of `files`, named …-00000-of-00002, is missing or there twice."""
    shards = [SHARD.fullmatch(file.name.lower().removesuffix(suffix_of(file))) for file in files]
    numbers = [int(shard["number"]) for shard in shards if shard]
    total = max(int(shard["total"]) for shard in shards if shard)
    if len(numbers) < len(files) or numbers not in (list(range(total)), list(range(1, total + 1))):
        names = _listed([file.name for file in files])
        raise ValueError(f"{files[0].parent} must hold each of the {total} shards once, got {names}")


def _saved(folder: Path) -> Table:
    """The table of a folder that `Dataset.save_to_disk` has written."""
    files = [folder / about["filename"] for about in _stated(folder / "state.json", "_data_files")]
    for file in files:
        if not file.is_file():
            raise ValueError(f"{folder} must hold {file.name}, which its state.json names")
    if not files:
        raise ValueError(f"{folder} must hold responses, got a data set without files")
    return _table(files)


def _stated(path: Path, name: str) -> list[Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))[name]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} must be a readable JSON object with {name}, as datasets writes it") from error
    if not isinstance(values, list):
        raise ValueError(f"{path}: {name} must be a list, got {values!r}")
    return values


def _table(files: Sequence[Path]) -> Table:
    return files[0] if len(files) == 1 else Shards(tuple(files))


def _first(table: Table) -> Path:
    return files_of(table)[0]


def _unread(folder: Path, read: Collection[Path]) -> Iterator[Path]:
    """What in `folder` is neither read nor about the data; of a folder in which nothing is read only its name."""
    for entry in sorted(folder.iterdir()):
        if entry in read or entry.name in ABOUT or entry.name.startswith("."):
            continue
        if any(entry in file.parents for file in read):
            yield from _unread(entry, read)
        else:
            yield entry


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more

"""The label files of AI Hub 71773 on disk: zips as downloaded, unpacked folders, or the aggregated csv."""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePath

from contrastive_learning.data.encodings import decoded
from contrastive_learning.data.files import existing, open_bytes

EXTENSIONS = (".zip", ".json", ".csv")
AGGREGATED = ("training_all_aggregated.csv", "validation_all_aggregated.csv")
UTTERANCE_LABELS = ("tl_1", "vl_1")  # 1.발화단위평가; 2.대화단위평가 holds the same dialogues again
OTHER_FILES = ("tl_2", "vl_2", "ts_", "vs_", "sbl", "._", "__macosx")
PARTS = {"training": "train", "train": "train", "tl": "train"} | dict.fromkeys(("validation", "val", "vl"), "valid")


def find_files(path: str | Path) -> dict[str, Path]:
    """Name relative to `path` -> file to read, sorted by name."""
    root = existing(path, "data.path")
    if root.is_file():
        if root.suffix.lower() not in EXTENSIONS:
            raise ValueError(f"data.path must be a folder or end in {', '.join(EXTENSIONS)}; got {root}")
        return {root.name: root}
    everything = {file.relative_to(root).as_posix(): file for file in sorted(root.rglob("*")) if file.is_file()}
    files = {name: file for name, file in everything.items() if _is_wanted(PurePath(name))}
    _check(root, everything, files)
    return files


def part_of(name: str) -> str | None:
    """train or valid, from a folder's name or the start of the file's; None if neither tells."""
    for piece in PurePath(name).parts:
        start = piece.lower().replace(".", "_").split("_")[0]
        if start in PARTS:
            return PARTS[start]
    return None


def documents(file: Path) -> Iterator[tuple[str, str]]:
    """The place (for messages) and the text of each JSON document in a .json file or a zip."""
    if file.suffix.lower() == ".json":
        with open_bytes(file) as handle:
            yield str(file), decoded(handle.read(), str(file))
        return
    with open_bytes(file) as handle:
        try:
            with zipfile.ZipFile(handle) as archive:
                for member in archive.infolist():
                    if _is_wanted(PurePath(member.filename)) and member.filename.lower().endswith(".json"):
                        where = f"{file}, {_readable_name(member)}"
                        yield where, decoded(archive.read(member), where)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise ValueError(f"{file} must be a whole zip file without a password: {error}") from error


def _is_wanted(name: PurePath) -> bool:
    if any(piece.lower().startswith(OTHER_FILES) for piece in name.parts):
        return False
    if name.suffix.lower() == ".zip":
        return name.name.lower().startswith(UTTERANCE_LABELS)
    return name.suffix.lower() == ".json" or name.name.lower() in AGGREGATED


def _check(root: Path, everything: dict[str, Path], files: dict[str, Path]) -> None:
    for name in everything:
        joined, dot, _ = name.partition(".zip.part")
        if dot and f"{joined}.zip" not in everything:
            raise ValueError(f"{root / joined}.zip must be joined first: cat '{joined}.zip.part'* > '{joined}.zip'")
    if not files:
        expected = "TL_1.*.zip, VL_1.*.zip, *.json or training_all_aggregated.csv"
        raise ValueError(f"{root} must hold {expected}; got {', '.join(list(everything)[:5]) or 'no file'}")
    tables = [name for name in files if name.lower().endswith(".csv")]
    labels = [name for name in files if name not in tables]
    if tables and labels:
        raise ValueError(f"data.path must hold one form of the data, got {tables[0]} and {labels[0]} in {root}")
    by_part = {part_of(name): name for name in files}
    if None in by_part and len(by_part) > 1:
        raise ValueError(f"every file must be under Training or Validation if some are, got {by_part[None]} in {root}")


def _readable_name(member: zipfile.ZipInfo) -> str:
    """The name for a message. Korean names are often stored as CP949 or UTF-8 without the flag that would say so."""
    if member.flag_bits & 0x800:
        return member.filename
    stored = member.filename.encode("cp437", errors="replace")
    for encoding in ("utf-8", "cp949"):
        try:
            return stored.decode(encoding)
        except UnicodeDecodeError:
            continue
    return member.filename

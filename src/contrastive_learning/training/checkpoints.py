"""Checkpoints that survive a crash: written to a temporary folder, then renamed.

`checkpoints.json` names the last and the best one; all others are deleted, and these too once a run has ended. In each,
`crc32.json` tells whether its files are whole: after a power cut they can have holes, which read as zeros. Older
checkpoints have none.
"""

import json
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

INDEX = "checkpoints.json"
CHECKSUMS = "crc32.json"
WEIGHTS, STATE = "model.safetensors", "state.pt"
AVERAGED = "averaged.safetensors"  # the weights by which the epoch was evaluated, if they are not those of WEIGHTS
CHUNK_BYTES = 1 << 20
# what torch raises for a file that is missing, empty, cut off, full of zeros or of something else
UNREADABLE = (OSError, EOFError, RuntimeError, KeyError, UnpicklingError)


class DamagedError(RuntimeError):
    """A file does not have the checksum that was noted when it was written."""


def save_checkpoint(
    folder: Path, name: str, weights: Mapping[str, Mapping[str, Tensor]], state: dict[str, Any], *, best: bool
) -> None:
    """Write weights (safetensors) and training state, then make them the last checkpoint, and the best if `best`.

    weights: the file, WEIGHTS or AVERAGED, the averaged weights, if there are any -> a model's state by name.
    Raises ValueError if they cannot be written; earlier checkpoints are then intact.
    """
    temporary = folder / f".writing-{name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        for file_name, each in weights.items():
            save_file({key: value.detach().contiguous() for key, value in each.items()}, temporary / file_name)
        with (temporary / STATE).open("wb") as file:
            torch.save(state, file)
        checksums = {name: _crc32(temporary / name) for name in (*weights, STATE)}
        (temporary / CHECKSUMS).write_text(json.dumps(checksums), encoding="utf-8")
        shutil.rmtree(folder / name, ignore_errors=True)
        temporary.replace(folder / name)
        _point(folder, name, best=best)
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise ValueError(f"cannot save checkpoint {folder / name}: {error}; earlier checkpoints are intact") from error


def load_weights(folder: Path, which: str, model: nn.Module, file_name: str = WEIGHTS) -> None:
    """Load the `best` or `last` weights into the model. Raises ValueError if they are damaged or another model's."""
    weights = _read_weights(folder, which, file_name)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"the checkpoint in {folder} is of another model: {str(error).splitlines()[-1]}") from error


def has_averaged(folder: Path, which: str) -> bool:
    """Whether the `best` or `last` checkpoint was written with averaged weights."""
    return AVERAGED in _weights_in(_checkpoint(folder, which))


def delete_checkpoints(folder: Path) -> None:
    (folder / INDEX).unlink(missing_ok=True)  # first: what a kill leaves behind is then no checkpoint
    shutil.rmtree(folder, ignore_errors=True)


def load_state(folder: Path) -> dict[str, Any]:
    """The training state of the last checkpoint. Raises ValueError if it is damaged."""
    file = _checkpoint(folder, "last") / STATE
    try:
        _check_whole(file)
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise ValueError(_damaged(folder, file)) from error
    return state


def use_whole_checkpoint(folder: Path) -> str | None:
    """If the last checkpoint is damaged, but the best one is whole, make that the last, and return a line that says so.

    Raises ValueError if the best one is damaged: without it the run could not come to its end.
    """
    last, best = (_checkpoint(folder, which) for which in ("last", "best"))
    if (damaged := _damaged_file(best)) is not None:
        raise ValueError(_damaged(folder, damaged))
    damaged = _damaged_file(last)
    if damaged is None:
        return None
    _write_index(folder, {"last": best.name, "best": best.name})
    return f"{damaged} is damaged: the run continues from {best.name}, the best checkpoint before it"


def _damaged_file(checkpoint: Path) -> Path | None:
    for file in (*(checkpoint / name for name in _weights_in(checkpoint)), checkpoint / STATE):
        try:
            _check_whole(file)
        except (OSError, DamagedError):
            return file
    return None


def _read_weights(folder: Path, which: str, file_name: str) -> dict[str, Tensor]:
    file = _checkpoint(folder, which) / file_name
    try:
        _check_whole(file)
        weights: dict[str, Tensor] = load_file(file)
    except (OSError, DamagedError, SafetensorError) as error:
        raise ValueError(_damaged(folder, file)) from error
    return weights


def _weights_in(checkpoint: Path) -> list[str]:
    """The names of its files of weights, also of one that got lost."""
    checksums = checkpoint / CHECKSUMS
    noted = checksums.read_text(encoding="utf-8", errors="replace") if checksums.exists() else ""
    return [WEIGHTS, *([AVERAGED] if AVERAGED in noted or (checkpoint / AVERAGED).exists() else [])]


def _check_whole(file: Path) -> None:
    """Raises DamagedError, or OSError if the file is missing. Checkpoints without checksums are older than these."""
    found, checksums = _crc32(file), file.with_name(CHECKSUMS)
    if not checksums.exists():
        return
    try:
        noted = json.loads(checksums.read_text(encoding="utf-8"))[file.name]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{checksums} is damaged") from error
    if found != noted:
        raise DamagedError(f"{file} has another checksum than {CHECKSUMS} says")


def _crc32(file: Path) -> int:
    value = 0
    with file.open("rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            value = zlib.crc32(chunk, value)
    return value


def _checkpoint(folder: Path, which: str) -> Path:
    if not (folder / INDEX).exists():
        raise ValueError(f"no checkpoint in {folder}: {INDEX} is missing")
    return folder / _read_index(folder)[which]


def _read_index(folder: Path) -> dict[str, str]:
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        return {which: str(index[which]) for which in ("last", "best")}
    except (ValueError, KeyError, TypeError) as error:
        names = ", ".join(_names(folder)) or "none"
        raise ValueError(
            f'{folder / INDEX} is damaged: write {{"last": NAME, "best": NAME}} to it, with names of the checkpoints '
            f"beside it ({names}), or start a new run"
        ) from error


def _damaged(folder: Path, file: Path) -> str:
    others = [name for name in _names(folder) if name != file.parent.name]
    way_out = f'write {others[-1]} as "last" and "best" into {folder / INDEX}' if others else "start a new run"
    return f"{file} is damaged, cut off or missing: restore it from a copy, or {way_out}"


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _point(folder: Path, name: str, *, best: bool) -> None:
    index = {"last": name, "best": name if best or not (folder / INDEX).exists() else _read_index(folder)["best"]}
    _write_index(folder, index)
    for old in folder.iterdir():
        if old.is_dir() and old.name not in index.values():
            shutil.rmtree(old, ignore_errors=True)


def _write_index(folder: Path, index: dict[str, str]) -> None:
    temporary = (folder / INDEX).with_suffix(".tmp")
    temporary.write_text(json.dumps(index), encoding="utf-8")
    temporary.replace(folder / INDEX)

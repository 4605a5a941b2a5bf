"""Checkpoints that survive a crash: written to a temporary folder, then renamed.

`checkpoints.json` names the last and the best one; all others are deleted.
"""

import json
import shutil
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

INDEX = "checkpoints.json"
# what torch raises for a file that is missing, empty, cut off, full of zeros or of something else
UNREADABLE = (OSError, EOFError, RuntimeError, KeyError, UnpicklingError)


def save_checkpoint(folder: Path, name: str, model: nn.Module, state: dict[str, Any], *, best: bool) -> None:
    """Write weights (safetensors) and training state, then make them the last checkpoint, and the best if `best`.

    Raises ValueError if they cannot be written; earlier checkpoints are then intact.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".writing-{name}"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        weights = {key: value.detach().contiguous() for key, value in model.state_dict().items()}
        save_file(weights, temporary / "model.safetensors")
        with (temporary / "state.pt").open("wb") as file:
            torch.save(state, file)
        shutil.rmtree(folder / name, ignore_errors=True)
        temporary.replace(folder / name)
        _point(folder, name, best=best)
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise ValueError(f"cannot save checkpoint {folder / name}: {error}; earlier checkpoints are intact") from error


def load_weights(folder: Path, which: str, model: nn.Module) -> None:
    """Load the `best` or `last` weights into the model. Raises ValueError if they are damaged or another model's."""
    file = _checkpoint(folder, which) / "model.safetensors"
    try:
        weights = load_file(file)
    except (OSError, SafetensorError) as error:
        raise ValueError(_damaged(folder, file)) from error
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"the checkpoint in {folder} is of another model: {str(error).splitlines()[-1]}") from error


def load_state(folder: Path) -> dict[str, Any]:
    """The training state of the last checkpoint. Raises ValueError if it is damaged."""
    file = _checkpoint(folder, "last") / "state.pt"
    try:
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise ValueError(_damaged(folder, file)) from error
    return state


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
    path = folder / INDEX
    index = {"last": name, "best": name if best or not path.exists() else _read_index(folder)["best"]}
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(index), encoding="utf-8")
    temporary.replace(path)
    for old in folder.iterdir():
        if old.is_dir() and old.name not in index.values():
            shutil.rmtree(old, ignore_errors=True)

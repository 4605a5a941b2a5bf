"""Checkpoints that survive a crash: written to a temporary folder, then renamed.

`checkpoints.json` names the last and the best one; all others are deleted.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

INDEX = "checkpoints.json"


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
    """Load the `best` or `last` weights into the model."""
    weights = load_file(_checkpoint(folder, which) / "model.safetensors")
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"the checkpoint in {folder} is of another model: {str(error).splitlines()[-1]}") from error


def load_state(folder: Path) -> dict[str, Any]:
    """The training state of the last checkpoint."""
    state: dict[str, Any] = torch.load(_checkpoint(folder, "last") / "state.pt", map_location="cpu", weights_only=True)
    return state


def _checkpoint(folder: Path, which: str) -> Path:
    try:
        index = json.loads((folder / INDEX).read_text())
    except FileNotFoundError:
        raise ValueError(f"no checkpoint in {folder}: {INDEX} is missing") from None
    return folder / str(index[which])


def _point(folder: Path, name: str, *, best: bool) -> None:
    path = folder / INDEX
    index = json.loads(path.read_text()) if path.exists() else {"best": name}
    index = {"last": name, "best": name if best else index["best"]}
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(index))
    temporary.replace(path)
    for old in folder.iterdir():
        if old.is_dir() and old.name not in index.values():
            shutil.rmtree(old, ignore_errors=True)

"""Where this application's files lie: next to `src` in a checkout, inside the package in an installed wheel."""

import shlex
import sys
from pathlib import Path

from optuna_sweep.run.command import as_typed

_PACKAGE = Path(__file__).resolve().parent
CHECKOUT = None if (_PACKAGE / "conf").is_dir() else _PACKAGE.parents[1]  # None in an installed wheel
_FILES = CHECKOUT or _PACKAGE
CONF = _FILES / "conf"
STUDIES = _FILES / "sweeps"
DEFAULT_STORE = "mlflow.db"  # that the UI opens, in the working directory


def command(name: str) -> str:
    """How a person here starts "train", "judge", "sync" or "ui", as a shell takes it."""
    python = Path(sys.executable)
    if CHECKOUT is not None:
        return shlex.join([as_typed(python), "-m", f"src.{name}"])
    script = python.with_name(f"contrastive-{name}")
    return shlex.quote(as_typed(script) if script.exists() else script.name)

"""Where this application's files lie: next to `src` in a checkout, inside the package in an installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
CHECKOUT = None if (_PACKAGE / "conf").is_dir() else _PACKAGE.parents[1]  # None in an installed wheel
_FILES = CHECKOUT or _PACKAGE
CONF = _FILES / "conf"
STUDIES = _FILES / "sweeps"
DEFAULT_STORE = "mlflow.db"  # that the UI opens, in the working directory


def command(name: str) -> str:
    """How a person here starts "train", "judge", "sync" or "ui"."""
    return f"contrastive-{name}" if CHECKOUT is None else f"python -m src.{name}"

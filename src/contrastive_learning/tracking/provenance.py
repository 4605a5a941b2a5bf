"""What is needed to repeat a run: the state of the code, the versions of packages, the machine."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "transformers", "tokenizers", "accelerate", "hydra-core", "omegaconf", "optuna", "mlflow", "numpy")


def git_state(repository: Path) -> dict[str, str]:
    """`commit` and `dirty` (yes/no); empty outside a git checkout."""
    commit = _git(repository, "rev-parse", "HEAD")
    if commit is None:
        return {}
    return {"commit": commit, "dirty": "yes" if _git(repository, "status", "--porcelain") else "no"}


def git_diff(repository: Path) -> str:
    """Uncommitted changes to tracked files; empty if there are none."""
    return _git(repository, "diff", "HEAD") or ""


def environment() -> dict[str, str]:
    """Versions of Python, of the platform and of PACKAGES, by name."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "platform": platform.platform()} | versions


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts and lists as one dict with dotted names; an empty dict or list stays a value.

    >>> flatten({"loss": {"temperature": 0.07}, "data": {"criteria": ["a", "b"]}})
    {'loss.temperature': 0.07, 'data.criteria.0': 'a', 'data.criteria.1': 'b'}
    """
    items = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else None
    if items is None or not config:
        return {prefix: config}
    flat: dict[str, Any] = {}
    for key, value in items:
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _git(repository: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=repository, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None

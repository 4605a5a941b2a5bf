"""Pairs of a launcher and a configuration that are known not to work, refused before the first trial."""

from collections.abc import Iterable, Mapping
from typing import Any

from optuna_sweep.errors import SweepError
from optuna_sweep.plan.space import Space

WITHOUT_WORKERS = {
    "JoblibLauncher": "joblib",
    "RayLauncher": "ray",
}  # DataLoader workers fail in the first and hang in the second
WORKERS_KEY = "num_workers"


def check_conflicts(launcher: str, base: Mapping[str, Any], space: Space) -> None:
    """Raises SweepError for a launcher (the path of its class) whose jobs would fail or hang."""
    name = WITHOUT_WORKERS.get(launcher.rpartition(".")[2])
    if name is None:
        return
    for key, values in _every_value(base, space):
        if key.rpartition(".")[2] == WORKERS_KEY and any(value not in (0, None) for value in values):
            raise SweepError(
                f"jobs of hydra/launcher={name} cannot have DataLoader workers: "
                f"{key}=0, or hydra/launcher=local or submitit_local"
            )


def _every_value(base: Mapping[str, Any], space: Space) -> Iterable[tuple[str, list[Any]]]:
    yield from ((key, [value]) for key, value in base.items())
    yield from ((name, list(axis.choices or [axis.distribution])) for name, axis in space.axes.items())

"""Makes the comparison of a sweep in an MLflow store, and says where it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from optuna_sweep.plan.plan import Plan
from optuna_sweep.record.view import MAX_COMPARED, View, compare_address
from optuna_sweep.study.ledger import Ledger

FINAL = "final/"  # what a job may log its objective under, once


@dataclass(frozen=True)
class Swept:
    """What a sweep varied and measured."""

    name: str
    params: Sequence[str]
    numbers: Sequence[str]
    metrics: Sequence[str]
    ascending: bool
    images: Sequence[str]

    @classmethod
    def of(cls, plan: Plan, ledger: Ledger) -> Self:
        values: dict[str, set[Any]] = {}
        for trial in ledger.trials:
            for name, value in trial.params.items():
                values.setdefault(_param_key(name), set()).add(value)
        numbers = [name for name, seen in values.items() if _is_axis(seen) and name != plan.settings.seed_key]
        ascending = plan.directions[0] == "minimize"
        images = plan.settings.mlflow_images
        return cls(plan.study_name, list(values), numbers, plan.metrics, ascending, images)


class Addresses(NamedTuple):
    view: str  # with columns and charts where it could be saved, else filtered and sorted
    compare: str | None  # None with fewer than two runs to compare

    def markdown(self) -> str:
        """Links within the UI, wherever it is."""
        compare = "" if self.compare is None else f" · [the best side by side]({self.compare[1:]})"
        return f"[**The ready-made comparison**]({self.view[1:]}){compare}"


def show(client: Any, experiment_id: str, parent_run_id: str, swept: Swept) -> Addresses:
    """Addresses from the `/#/` on."""
    children = f"tags.mlflow.parentRunId = '{parent_run_id}'"
    some = list(client.search_runs([experiment_id], children, max_results=100))
    known = {name for run in some for name in run.data.metrics}
    objectives = [FINAL + name if FINAL + name in known or name not in known else name for name in swept.metrics]
    order = f"metrics.`{objectives[0]}` {'ASC' if swept.ascending else 'DESC'}"
    ranked = client.search_runs([experiment_id], children, order_by=[order], max_results=MAX_COMPARED)
    best = [run.info.run_id for run in ranked if objectives[0] in run.data.metrics]
    curves = [name for name in swept.metrics if name in known and name not in objectives]
    view = View(
        experiment_id,
        parent_run_id,
        swept.name,
        swept.params,
        swept.numbers,
        objectives,
        swept.ascending,
        curves,
        swept.images if best else (),
        _last_step(client, best[0], curves) if best else 0,
    )
    tag = view.tag()
    if tag is not None:
        client.set_experiment_tag(experiment_id, *tag)
    compare = compare_address(experiment_id, best) if len(best) > 1 else None
    return Addresses(view.plain_address if tag is None else view.address, compare)


def base_address(tracking_uri: str, ui: str) -> str:
    """The server of the store, without credentials; else where the UI answers."""
    if not tracking_uri.startswith("http"):
        return ui.rstrip("/")
    parts = urlsplit(tracking_uri)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}".rstrip("/")


def _last_step(client: Any, run_id: str, curves: Sequence[str]) -> int:
    history = client.get_metric_history(run_id, curves[0]) if curves else []
    return max((metric.step for metric in history), default=0)


def _param_key(name: str) -> str:
    """As the configuration has it, without the marks of an override: +group@package -> group."""
    return name.lstrip("+").partition("@")[0].replace("/", ".")


def _is_axis(values: set[Any]) -> bool:
    return len(values) > 1 and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)

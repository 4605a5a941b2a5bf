"""Makes the comparison of a sweep in an MLflow store, and says where it is."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from optuna_sweep.outcome import Outcome
from optuna_sweep.record.note import describe_child
from optuna_sweep.record.view import MAX_CHARTED, MAX_COMPARED, View, compare_address

NOTE = "mlflow.note.content"  # the tag that MLflow shows as a run's description
PAUSE_TAGS = ("sweep.state", "sweep.rung")  # columns of a sweep whose trials pause
FINAL = "final/"  # what a job may log its objective under, once


class Addresses(NamedTuple):
    view: str  # with columns and charts if it could be saved, else only filtered and sorted
    compare: str | None  # None with fewer than two runs to compare

    def markdown(self) -> str:
        """Links within the UI, whatever its address is."""
        compare = "" if self.compare is None else f" · [the best side by side]({self.compare[1:]})"
        return f"[**The ready-made comparison**]({self.view[1:]}){compare}"


def show(
    client: Any,
    experiment_id: str,
    parent_run_id: str,
    outcome: Outcome,
    *,
    images: Sequence[str],
    columns: Sequence[str],
) -> Addresses:
    """Save the comparison of the parent's runs, and tell those that it shows their place. Returns addresses from the
    `/#/` on.

    images: names of series of pictures that the jobs have logged; columns: metrics and params to show in the table, if
    the jobs have logged them.
    """
    children = f"tags.mlflow.parentRunId = '{parent_run_id}'"
    some = list(client.search_runs([experiment_id], children, max_results=100))
    known = {name for run in some for name in run.data.metrics}
    objectives = [FINAL + name if FINAL + name in known or name not in known else name for name in outcome.metrics]
    ascending = outcome.directions[0] == "minimize"
    order = f"metrics.`{objectives[0]}` {'ASC' if ascending else 'DESC'}"
    ranked = client.search_runs([experiment_id], children, order_by=[order], max_results=MAX_CHARTED)
    best = [run.info.run_id for run in ranked if objectives[0] in run.data.metrics]
    _tell_their_place(client, outcome, ranked)
    curves = [name for name in outcome.metrics if name in known and name not in objectives]
    values = _values(outcome)
    view = View(
        experiment_id,
        parent_run_id,
        outcome.study,
        outcome.answer[0] if outcome.answer else "",
        list(values),
        [name for name, seen in values.items() if _is_axis(seen) and name != outcome.seed_key],
        outcome.is_noise,
        objectives,
        ascending,
        curves,
        images if best else (),
        _last_step(client, best[0], curves) if best else 0,
        [
            *(f"metrics.`{name}`" for name in columns if name in known and name not in curves),
            *(f"params.`{name}`" for name in columns if any(name in run.data.params for run in some)),
            *(f"tags.`{name}`" for name in PAUSE_TAGS if any("sweep.rung" in run.data.tags for run in some)),
        ],
    )
    tag = view.tag()
    if tag is not None:
        client.set_experiment_tag(experiment_id, *tag)
    compare = compare_address(experiment_id, best[:MAX_COMPARED]) if len(best) > 1 else None
    return Addresses(view.plain_address if tag is None else view.address, compare)


def base_address(tracking_uri: str, ui: str) -> str:
    """The address of the store's own server, without credentials; `ui` if the store has none."""
    if not tracking_uri.startswith("http"):
        return ui.rstrip("/")
    parts = urlsplit(tracking_uri)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}".rstrip("/")


def _tell_their_place(client: Any, outcome: Outcome, runs: Iterable[Any]) -> None:
    """Each run's place in the sweep begins its description."""
    for run in runs:
        tags = run.data.tags
        number = int(tags["sweep.trial"]) if tags.get("sweep.id") == outcome.study and "sweep.trial" in tags else None
        known = tags.get(NOTE, "")
        note = describe_child(outcome, number, known)
        if note != known:
            client.set_tag(run.info.run_id, NOTE, note)


def _values(outcome: Outcome) -> dict[str, set[Any]]:
    """Each parameter, by the configuration's key for it, with the values that trials have."""
    values: dict[str, set[Any]] = {}
    for trial in outcome.by_number:
        for name, value in trial.params.items():
            values.setdefault(_param_key(name), set()).add(value)
    return values


def _last_step(client: Any, run_id: str, curves: Sequence[str]) -> int:
    history = client.get_metric_history(run_id, curves[0]) if curves else []
    return max((metric.step for metric in history), default=0)


def _param_key(name: str) -> str:
    """The configuration's key for a parameter, without the marks of an override: +group@package -> group."""
    return name.lstrip("+").partition("@")[0].replace("/", ".")


def _is_axis(values: set[Any]) -> bool:
    return len(values) > 1 and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)

"""What a sweep shows of score and geometry over the numbers that it varied."""

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any

from contrastive_app.report.evidence import Arm, Evidence
from contrastive_app.report.tables import name_of
from contrastive_learning.pictures import Measured, draw_measured
from hydra_plugins.contrastive_sweeper.outcome import noise_width

MOST_NUMBERS = 4
GEOMETRY = {
    "val/embedding/silhouette": "silhouette, mean over criteria",
    "val/embedding/effective_rank": "effective rank",
}


def score_and_geometry(evidence: Evidence) -> bytes | None:
    """A PNG; None if no number was varied."""
    drawn, numbers = configurations(evidence)
    if not numbers:
        return None
    baseline = None if evidence.baseline is None else Measured({}, _values(evidence, evidence.baseline))
    every = [*drawn, *([] if baseline is None else [baseline])]
    measures = [
        name for name in (evidence.outcome.metrics[0], *GEOMETRY.values()) if any(e.values[name] for e in every)
    ]
    name = "" if evidence.baseline is None else name_of(evidence, evidence.baseline)
    figure = draw_measured(
        drawn,
        baseline,
        numbers=numbers,
        measures=measures,
        least_widths={name: noise_width([each.values[name] for each in every]) for name in measures},
        baseline_name=name,
    )
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def configurations(evidence: Evidence) -> tuple[list[Measured], list[str]]:
    """Those of the search, then those on fresh seeds; and the labels of the numbers that were varied."""
    arms = [(arm, False) for arm in evidence.arms]
    if evidence.is_fresh:
        arms += [(arm, True) for arm in evidence.compared if arm.params]
    names = list(_varied([arm.params for arm, _ in arms]))[:MOST_NUMBERS]
    labels = {name: evidence.outcome.labels.get(name, name) for name in names}
    drawn = [
        Measured({labels[name]: arm.params[name] for name in names}, _values(evidence, arm), is_fresh)
        for arm, is_fresh in arms
        if _numbers_of(arm.params).keys() >= set(names)
    ]
    return drawn, list(labels.values())


def _numbers_of(params: Mapping[str, Any]) -> dict[str, float]:
    """Those of the parameters that are numbers."""
    return {
        name: value for name, value in params.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _varied(params: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for name in dict.fromkeys(name for each in params for name in each):
        if len({_numbers_of(each).get(name) for each in params} - {None}) > 1:
            yield name


def _values(evidence: Evidence, arm: Arm) -> dict[str, Sequence[float]]:
    """Measure -> one value per seed."""
    geometry = {label: list(arm.metric(name).values()) for name, label in GEOMETRY.items()}
    return {evidence.outcome.metrics[0]: list(arm.objective(0).values()), **geometry}

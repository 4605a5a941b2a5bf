"""How the MLflow UI shows a sweep: addresses, and a saved view with its columns and charts.

Saved views are MLflow's own, but their format is undocumented: tags of the experiment, as MLflow 3.17 writes them.
"""

import base64
import json
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

TAG = "mlflow.sharedViewState."
MAX_TAG_LENGTH = 5000  # of the value of an experiment's tag, in a PostgreSQL store
MAX_COMPARED = 10
MAX_CHARTED = 20
SWEEP, CURVES, IMAGES = "sweep", "curves", "images"  # sections of the page
Json = dict[str, Any]


@dataclass(frozen=True)
class View:
    """What is compared. All names are those of MLflow's params and metrics."""

    experiment_id: str
    parent_run_id: str
    name: str
    answer: str  # what the sweep says, in a line; empty if it says nothing
    params: Sequence[str]
    numbers: Sequence[str]  # those params that are numbers, with a chart for each
    is_noise: bool  # whether the runs differ less than seeds do: MLflow stretches what other charts are given
    objectives: Sequence[str]  # metrics; runs are sorted by the first
    ascending: bool
    curves: Sequence[str]  # metrics with a value per epoch
    images: Sequence[str]  # series of pictures
    image_step: int
    more_columns: Sequence[str] = ()  # of the table, besides params and objectives, as MLflow has them: metrics.`loss`

    @property
    def key(self) -> str:
        """The name of the saved view. A continued sweep has the same, and so replaces its view."""
        return f"sweep{self.parent_run_id}"

    @property
    def address(self) -> str:
        return f"{_runs_page(self.experiment_id)}&compareRunsMode=CHART&viewStateShareKey={self.key}"

    @property
    def plain_address(self) -> str:
        """The same runs in the same order, without columns and charts: an address with documented filters only."""
        where = quote(_filter(self.parent_run_id))
        order = quote(f"metrics.`{self.objectives[0]}`")
        ascending = str(self.ascending).lower()
        page = _runs_page(self.experiment_id)
        return f"{page}&searchFilter={where}&orderByKey={order}&orderByAsc={ascending}"

    def tag(self) -> tuple[str, str] | None:
        """The experiment's tag that saves the view, as key and value; None if the view is too large for a tag."""
        now = int(time.time() * 1000)
        packed = base64.b64encode(zlib.compress(json.dumps(self._state()).encode(), 9)).decode()
        view = {"name": self.name, "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"}
        value = json.dumps(view, ensure_ascii=False)
        return (TAG + self.key, value) if len(value) <= MAX_TAG_LENGTH else None

    def _state(self) -> Json:
        columns = [f"metrics.`{name}`" for name in self.objectives] + [f"params.`{name}`" for name in self.params]
        columns += [name for name in self.more_columns if name not in columns]
        return {
            "searchFilter": _filter(self.parent_run_id),
            "orderByKey": f"metrics.`{self.objectives[0]}`",
            "orderByAsc": self.ascending,
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "datasetsFilter": [],
            "modelVersionFilter": "All Runs",
            "selectedColumns": columns,
            "columnOrder": [],
            "columnWidths": {},
            "runsHiddenMode": "SHOW_ALL",
            "viewMaximized": False,
            "runListHidden": False,
            "isAccordionReordered": True,
            "useGroupedValuesInCharts": True,
            "hideEmptyCharts": True,
            "groupBy": None,
            "groupsExpanded": {},
            "compareRunSections": list(self._sections()),
            "compareRunCharts": list(self._charts()),
            "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
        }

    def _sections(self) -> Iterator[Json]:
        yield _section(SWEEP, self.answer or "Sweep") | {"columns": 2, "cardHeight": 360}
        if self.curves:
            yield _section(CURVES, "Curves") | {"columns": 1, "cardHeight": 360}
        if self.images:
            yield _section(IMAGES, "Embeddings") | {"columns": 1, "cardHeight": 720}

    def _charts(self) -> Iterator[Json]:
        if self.is_noise and len(self.objectives) == 1:
            # bars begin at zero, so that what differs by little looks alike
            yield _chart("bars", "BAR", SWEEP) | {"metricKey": self.objectives[0]}
        else:
            yield from self._charts_of_values()
        for name in self.curves:
            yield _chart(f"curve-{name}", "LINE", CURVES) | _curve(name)
        if self.images:
            keys = {"imageKeys": list(self.images), "step": self.image_step, "showRunParams": False}
            yield _chart("images", "IMAGE", IMAGES) | keys

    def _charts_of_values(self) -> Iterator[Json]:
        first = self.objectives[0]
        if self.params:
            what = {"displayName": f"Swept parameters and {first}", "showAllRuns": False}
            chosen = {"selectedParams": list(self.params), "selectedMetrics": list(self.objectives)}
            yield _chart("parallel", "PARALLEL", SWEEP) | what | chosen
        if len(self.objectives) > 1:
            yield _chart("objectives", "SCATTER", SWEEP) | _axes(_metric(first), _metric(self.objectives[1]))
        if len(self.numbers) > 1:
            x, y = map(_param, self.numbers[:2])
            yield _chart("contour", "CONTOUR", SWEEP) | _axes(x, y) | {"zaxis": _metric(first)}
        for name in self.numbers:
            yield _chart(f"scatter-{name}", "SCATTER", SWEEP) | _axes(_param(name), _metric(first))


def compare_address(experiment_id: str, run_ids: Sequence[str]) -> str:
    runs, experiments = (quote(json.dumps(ids, separators=(",", ":"))) for ids in (list(run_ids), [experiment_id]))
    return f"/#/compare-runs?runs={runs}&experiments={experiments}&workflowType=machine_learning"


def _runs_page(experiment_id: str) -> str:
    """Without the parameter, MLflow opens its page for traces of language models."""
    return f"/#/experiments/{experiment_id}/runs?workflowType=machine_learning"


def _filter(parent_run_id: str) -> str:
    return f"tags.`mlflow.parentRunId` = '{parent_run_id}'"


def _section(uuid: str, name: str) -> Json:
    return {
        "uuid": uuid,
        "name": name,
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
    }


def _chart(uuid: str, kind: str, section: str) -> Json:
    shown = {"runsCountToCompare": MAX_CHARTED, "deleted": False, "isGenerated": False}
    return {"uuid": uuid, "type": kind, "metricSectionId": section, **shown}


def _axes(x: Json, y: Json) -> Json:
    return {"xaxis": x, "yaxis": y}


def _param(name: str) -> Json:
    return {"key": name, "type": "PARAM"}


def _metric(name: str) -> Json:
    return {"key": name, "type": "METRIC"}


def _curve(name: str) -> Json:
    return {
        "displayName": name,
        "metricKey": name,
        "selectedMetricKeys": [name],
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }

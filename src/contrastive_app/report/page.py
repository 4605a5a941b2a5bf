"""Puts the evidence into report.html: texts escaped, pictures inside."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jinja2 import Environment, StrictUndefined

from contrastive_app.report.between_seeds import between_seeds
from contrastive_app.report.champion import Challenge
from contrastive_app.report.changed import changed_judgements
from contrastive_app.report.chart import charts
from contrastive_app.report.evidence import Arm, Evidence
from contrastive_app.report.review import reviews
from contrastive_app.report.tables import (
    arms_table,
    cost_lines,
    criteria_table,
    has_intervals,
    name_of,
    quality_table,
    soup_table,
    trials_table,
)
from contrastive_app.report.verdict import Verdict
from contrastive_app.report.wording import setting
from contrastive_learning.pictures import EmbeddingMap, Predictions, draw_map, draw_reliability
from hydra_plugins.contrastive_sweeper.outcome import seed_noise

if TYPE_CHECKING:
    from contrastive_app.soup import SoupResult

TEMPLATE = Path(__file__).with_name("report.html")


class Picture(NamedTuple):
    caption: str
    png: str  # as a data: URL


def render(
    evidence: Evidence,
    verdict: Verdict,
    *,
    criterion: str | None,
    epochs: int,
    soup: "SoupResult | None" = None,
    measured: bytes | None = None,
    challenge: Challenge | None = None,
) -> str:
    """The page as HTML.

    criterion: the one whose votes colour the maps, None for no maps; epochs: of a run that is not pruned; soup: the
    average of the best runs, if one was made; measured: the PNG of score and geometry, if there is one; challenge: the
    best against the champion, if there is one.
    """
    outcome, drawn = evidence.outcome, list(charts(evidence))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        outcome=outcome,
        evidence=evidence,
        verdict=verdict,
        setting=setting(evidence.best.params, outcome.labels),
        charts=drawn,
        has_orange=any(point.mark == "baseline" for chart in drawn for point in chart.points),
        noise=seed_noise(evidence.values()),
        intervals=has_intervals(evidence),
        gap=evidence.runner_up_gap(),
        arms=arms_table(evidence),
        quality=quality_table(evidence),
        criteria=criteria_table(evidence),
        steadiness=between_seeds(evidence),
        changed=changed_judgements(evidence),
        challenge=challenge,
        reviews=list(reviews(evidence.best.folder)),
        maps=[] if criterion is None else list(_maps(evidence, criterion)),
        criterion=criterion,
        measured=None if measured is None else _address(measured),
        reliability=_reliability(evidence),
        soup=soup,
        soup_table=None if soup is None else soup_table(soup.metrics),
        cost=list(cost_lines(evidence, epochs)),
        trials=trials_table(evidence),
    )


def _maps(evidence: Evidence, criterion: str) -> Iterator[Picture]:
    """Maps of the best and the worst configuration of the search, and of the best without a contrastive term."""
    best = next(arm for arm in evidence.arms if evidence.outcome.chosen in arm.trials)
    drawn: list[Arm] = []
    for title, arm in {"Best": best, "Worst": evidence.arms[-1], "λ = 0": evidence.baseline}.items():
        if arm is None or any(arm is other for other in drawn):
            continue
        drawn.append(arm)
        file = arm.folder / "embedding_map.parquet"
        found = EmbeddingMap.read(file) if file.exists() else None
        if found is not None and criterion in found.criteria:
            name = name_of(evidence, arm)
            caption = f"{title if name == title else f'{title}: {name}'} (seed {next(iter(arm.runs))})"
            yield Picture(caption, _address(draw_map(found, criterion)))


def _reliability(evidence: Evidence) -> str | None:
    best, baseline = evidence.best, evidence.baseline
    files = {"best, test": best.folder / "test.parquet", "best, held-out domain": best.folder / "test_ood.parquet"}
    if baseline is not None and baseline is not best:
        files["λ = 0, test"] = baseline.folder / "test.parquet"
    curves = {label: Predictions.read(file) for label, file in files.items() if file.exists()}
    shown = best.folder / "embedding_map.parquet"
    if not curves or not shown.exists():
        return None
    return _address(draw_reliability(curves, EmbeddingMap.read(shown).criteria))


def _address(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"

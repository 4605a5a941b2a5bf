"""Makes what the parent run of a sweep shows besides Optuna's plots: above all report.html.

In: the Outcome of a sweep and the files that its runs have left. Out: files in the sweep's folder (`report`).
evidence gathers, verdict, effects, tables and chart turn it into words and numbers, page puts them together.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.utils import instantiate
from omegaconf import DictConfig

from contrastive_app.record import how_to_look
from contrastive_app.resume import RUN_FILE, read_run
from hydra_plugins.contrastive_sweeper.outcome import Outcome

if TYPE_CHECKING:
    from contrastive_app.report.evidence import Evidence
    from contrastive_app.soup import SoupResult


def report(config: DictConfig, outcome: Outcome, folder: Path) -> Iterator[Path | str]:
    """`hydra.sweeper.report`: yields the verdict and the files that it makes.

    Registers the best model if `tracking.register` says so.

    config: the application's, without the swept values; folder: the sweep's.
    """
    # imported here, because every start of a sweep looks this function up, and few call it
    from contrastive_app.report.champion import against_champion
    from contrastive_app.report.evidence import gather
    from contrastive_app.report.grid import criterion_of
    from contrastive_app.report.measured import score_and_geometry
    from contrastive_app.report.page import render
    from contrastive_app.report.verdict import verdict_of

    evidence = gather(outcome)
    criterion = criterion_of(evidence, config.pictures.criterion)
    yield from _embeddings(evidence, criterion, folder)
    if (measured := score_and_geometry(evidence)) is not None:
        over = folder / "score_and_geometry.png"
        over.write_bytes(measured)
        yield over
    made = _soup(outcome, folder)
    soup = None if isinstance(made, str) else made
    verdict = verdict_of(evidence)
    page = folder / "report.html"
    best = _best_folder(outcome, soup)
    text = render(
        evidence,
        verdict,
        criterion=criterion,
        epochs=config.trainer.epochs,
        soup=soup,
        measured=measured,
        challenge=against_champion(config.tracking, best) if (best / RUN_FILE).exists() else None,
    )
    page.write_text(text, encoding="utf-8")
    yield page
    yield from filter(None, verdict)
    if made is not None:
        yield made if isinstance(made, str) else made.remark
    if (viewer := how_to_look(config)) is not None:
        yield f"To look at the runs: {viewer}"
    _register(config, best, f"trial {outcome.chosen}")


def _embeddings(evidence: "Evidence", criterion: str | None, folder: Path) -> Iterator[Path]:
    """The embeddings of the runs: all of them, those before and after training, two side by side."""
    from contrastive_app.report.grid import before_and_after, panels_of
    from contrastive_app.report.runs_side_by_side import runs_side_by_side
    from contrastive_learning.pictures import draw_grid

    panels, columns, order = panels_of(evidence, criterion)
    if criterion is not None and any(panels):
        grid = folder / "embedding_grid.png"
        num_runs = sum(panel is not None for panel in panels)
        grid.write_bytes(draw_grid(panels, criterion, columns=columns, subtitle=f"{num_runs} runs: {order}"))
        yield grid
    if before_after := before_and_after(evidence, criterion):
        assert criterion is not None
        clusters = folder / "embedding_before_after.png"
        clusters.write_bytes(draw_grid(before_after, criterion, subtitle="without and with a contrastive term"))
        yield clusters
    if (pair := runs_side_by_side(evidence)) is not None:
        compared = folder / "embeddings_side_by_side.html"
        compared.write_text(pair, encoding="utf-8")
        yield compared


def _soup(outcome: Outcome, folder: Path) -> "SoupResult | str | None":
    """What `make_soup` returns; None if no soup is wanted."""
    if outcome.soup is None:
        return None
    from contrastive_app.soup import make_soup

    return make_soup(outcome, folder)


def _best_folder(outcome: Outcome, soup: "SoupResult | None") -> Path:
    """Of the run of the best trial or, if that is better, of the soup."""
    best = next(trial for trial in outcome.trials if trial.number == outcome.chosen)
    return soup.folder if soup is not None and soup.wins else next(iter(best.runs.values())).folder


def _register(config: DictConfig, best: Path, name: str) -> None:
    """Register the judge of the run in the folder `best`. name: for the user."""
    from contrastive_learning.tracking.outbox import OUTBOX

    if not (best / RUN_FILE).exists():
        print(f"Not registered: the folder of {name} is not on this machine")
        return
    tracking, run_id = instantiate(config.tracking, _convert_="all"), read_run(best, "run_id")["run_id"]
    if (best / OUTBOX).exists() and not tracking.send_outbox(run_id, best):
        print(f"Not registered: the record of {name} still waits to be sent to {config.tracking.uri}")
        return
    registered = tracking.register(run_id)
    if registered is not None:
        print(f"Registered: {registered}")

"""`hydra.sweeper.soup=greedy`: at the end of a sweep, the weights of its best runs averaged into one more judge.

The search on valid is that of training.soups; what is recorded is one more child of the sweep's run, `soup`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from contrastive_app.parts import Parts, build_parts, build_trainer, load_data, training_set
from contrastive_app.record import (
    METRICS_TABLE,
    record_embeddings,
    record_judge,
    record_options,
    record_review,
    write_metrics,
)
from contrastive_app.resume import RUN_FILE, read_run, write_run
from hydra_plugins.contrastive_sweeper.outcome import Outcome, SeedRun

if TYPE_CHECKING:
    from contrastive_learning import ContrastiveTrainer
    from contrastive_learning.data.tokenized import TokenizedData
    from contrastive_learning.metrics.evaluation import Evaluation

MAX_CANDIDATES = 20  # each costs one evaluation of valid
FOLDER = "soup"  # in the sweep's


class SoupResult(NamedTuple):
    """What averaging the best runs of a sweep has come to."""

    names: tuple[str, ...]  # of the trials whose runs are in it, best first
    num_candidates: int
    metrics: Mapping[str, Mapping[str, float]]  # of the best single run, the soup, the mean of probabilities
    wins: bool  # it is better on valid than the best single run
    folder: Path  # of its run
    remark: str  # one line


def make_soup(outcome: Outcome, folder: Path) -> SoupResult | str:
    """Average, evaluate and record. Returns a line instead if no run can be averaged with the best one.

    Needs one objective that is a metric of valid. folder: the sweep's.
    """
    from contrastive_learning.serving import judge_weights
    from contrastive_learning.training import Hooks
    from contrastive_learning.training.soups import alike, averaged, greedy_soup

    metric, maximize = outcome.metrics[0], outcome.directions[0] == "maximize"
    if len(outcome.metrics) > 1 or not metric.startswith("val/"):
        return f"no soup: it needs one objective that is a metric of valid, got {', '.join(outcome.metrics)}"
    ranked = _ranked(outcome, maximize=maximize)
    candidates = [(name, judge_weights(run.folder / "judge")) for name, run in ranked]
    candidates = [(name, weights) for name, weights in candidates if alike(candidates[0][1], weights)]
    if len(candidates) < 2:
        return "no soup: it needs two runs with weights of the same shapes on this machine"
    config = OmegaConf.create(dict(outcome.best_config))
    assert isinstance(config, DictConfig)
    parts = build_parts(config)
    data = load_data(config, parts)
    output = folder / FOLDER
    trainer = build_trainer(config, parts, data, training_set(config, parts, data), output, Hooks())
    model = trainer.accelerator.unwrap_model(trainer.model)

    def score(weights: Mapping[str, Any]) -> float:
        model.load_state_dict(weights)
        return trainer.evaluate()[metric.removeprefix("val/")]

    soup = greedy_soup([weights for _, weights in candidates], score, maximize=maximize)
    if len(soup.members) == 1:
        return (
            f"no soup: averaged with the best run, none of {len(candidates) - 1} others keeps its {metric} of "
            f"{soup.best_single:.4f}{_why_few(outcome, config)}"
        )
    members = [candidates[position] for position in soup.members]
    single, _ = _evaluated(trainer, members[0][1])
    together = _mean_of_probabilities(trainer, [weights for _, weights in candidates])
    metrics, evaluations = _evaluated(trainer, averaged([weights for _, weights in members]))
    names = tuple(name for name, _ in members)
    _record(outcome, _Made(config, parts, data, trainer, output), names, metrics, evaluations)
    wins = soup.score > soup.best_single if maximize else soup.score < soup.best_single
    return SoupResult(
        names,
        len(candidates),
        {"best single": single, "soup": metrics, "mean of probabilities": together},
        wins,
        output,
        f"soup: {len(members)} of {len(candidates)} runs averaged, {metric} {soup.score:.4f}; the best single run has "
        f"{soup.best_single:.4f}",
    )


class _Made(NamedTuple):
    """What the soup is made with and, in `output`, recorded as."""

    config: DictConfig
    parts: Parts
    data: "TokenizedData"
    trainer: "ContrastiveTrainer"  # its model has the averaged weights
    output: Path


def _record(
    outcome: Outcome,
    made: _Made,
    names: Sequence[str],
    metrics: dict[str, float],
    evaluations: "Mapping[str, Evaluation]",
) -> None:
    """Record the soup as a child of the sweep's run, as a run of training is. names: of the runs in it."""
    from contrastive_learning.pictures import clearest_criterion
    from contrastive_learning.tracking import MetricsTable

    config, parts, data, trainer, output = made
    output.mkdir(exist_ok=True)
    write_metrics(output, metrics, 0, 0)
    tags = {"data.fingerprint": data.fingerprint}
    if outcome.parent_run_id:
        tags["mlflow.parentRunId"] = outcome.parent_run_id
    known = read_run(output, "run_id")["run_id"] if (output / RUN_FILE).exists() else None
    with parts.tracking.open("soup", tags, folder=output, resume_run_id=known) as run:
        write_run(output, run.run_id, config, data)
        record_options(run, config, data, {})
        run.params({"soup.members": ", ".join(names)})
        run.log(parts.tracking.chosen(metrics, outcome.metrics), 0)
        table = MetricsTable(output / METRICS_TABLE, data.criteria)
        table.add(metrics, 0, final=True)
        run.artifact(table.file)
        criterion = clearest_criterion(metrics, data.criteria) or data.criteria[0]
        record_embeddings(run, output, data.splits, evaluations, data.criteria.index(criterion))
        record_judge(run, config, output, data, trainer, evaluations["val"])
        record_review(run, output)


def _why_few(outcome: Outcome, config: DictConfig) -> str:
    seeds = {seed for trial in outcome.complete for seed in trial.runs}
    if len(seeds) < 2 or OmegaConf.select(config, "model.init_seed") is not None:
        return ""
    return "; runs of several seeds can hardly be averaged unless model.init_seed makes them begin alike"


def _ranked(outcome: Outcome, *, maximize: bool) -> list[tuple[str, SeedRun]]:
    """The best runs of the search whose judges are here."""
    runs = [
        (f"{trial.number:03d}" if len(trial.runs) == 1 else f"{trial.number:03d} seed {seed}", run)
        for trial in outcome.complete
        for seed, run in trial.runs.items()
        if (run.folder / "judge").exists()
    ]
    return sorted(runs, key=lambda named: -named[1].values[0] if maximize else named[1].values[0])[:MAX_CANDIDATES]


def _evaluated(
    trainer: "ContrastiveTrainer", weights: Mapping[str, Any]
) -> "tuple[dict[str, float], dict[str, Evaluation]]":
    trainer.accelerator.unwrap_model(trainer.model).load_state_dict(weights)
    return trainer.evaluate_all()


def _mean_of_probabilities(trainer: "ContrastiveTrainer", judges: list[Mapping[str, Any]]) -> dict[str, float]:
    """The quality of several judges together, each judging every response: what a single one can hardly beat."""
    from contrastive_learning.metrics import choose_thresholds, quality_metrics

    every = [_evaluated(trainer, weights)[1] for weights in judges]
    metrics: dict[str, float] = {}
    means = {prefix: sum(one[prefix].probabilities for one in every) / len(every) for prefix in every[0]}
    valid = every[0]["val"]
    thresholds = choose_thresholds(means["val"], valid.yes_votes, valid.num_votes)
    for prefix, evaluation in every[0].items():
        votes = evaluation.yes_votes, evaluation.num_votes
        found = quality_metrics(means[prefix], *votes, trainer.criteria, thresholds)
        metrics |= {f"{prefix}/{name}": value for name, value in found.items()}
    return metrics

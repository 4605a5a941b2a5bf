"""What is recorded of a run: configuration, data and machine at its start; metrics, embeddings and judge at its end."""

import json
import logging
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from contrastive_app.checks import recorded_run
from contrastive_app.interrupts import close_first
from contrastive_app.launched import is_follower
from contrastive_app.places import CHECKOUT, DEFAULT_STORE, command
from contrastive_app.resume import write_run
from hydra_plugins.contrastive_sweeper.trial import CurrentTrial
from mlflow_stores import redact, sqlite_path

if TYPE_CHECKING:
    from contrastive_learning import ContrastiveTrainer
    from contrastive_learning.data.tokenized import TokenizedData, TokenizedSplit
    from contrastive_learning.judging import MixedJudge
    from contrastive_learning.metrics.evaluation import Evaluation
    from contrastive_learning.tracking import Run, Tracker

logger = logging.getLogger(__name__)

METRICS_FILE = "metrics.json"  # in the output folder: those of the kept epoch
METRICS_TABLE = "metrics.parquet"  # there and among the artifacts: every one of every epoch
REVIEW_FOLDER = "review"  # in the output folder and among the artifacts
MOST_LISTED = 100  # cells of each list
MAX_NOTE_LENGTH = 8000  # MLflow's limit of a tag
SAME_JOB = ("sweep.id", "sweep.job", "mlflow.parentRunId")  # tags that only the runs of one job have in common
LOG_FILE = "train.log"  # in the output folder, where Hydra logs too: what was printed
DESCRIBED = {
    "macro_f1": "macro F1",
    "auroc": "AUROC",
    "borderline/auroc": "AUROC of 2:1 against 1:2",
    "borderline/flips": "decisions on split votes that flip",
}


def run_name(config: DictConfig) -> str:
    """The choices and hyperparameters that tell runs apart, such as "sample tiny supcon τ=0.07 λ=0.1"."""
    choices, loss = HydraConfig.get().runtime.choices, config.loss
    chosen = [choices[group] for group in ("data", "model", "loss") if group in choices]
    if loss.lambda_contrastive > 0:
        chosen += [f"τ={loss.temperature:.3g}", f"λ={loss.lambda_contrastive:.3g}"]
    return " ".join(chosen)


@contextmanager
def open_run(
    config: DictConfig, tracking: "Tracker", output: Path, trial: CurrentTrial, data: "TokenizedData"
) -> Iterator["Run"]:
    """Open a new run or, if `output` belongs to a run that is resumed, that one; it is closed when the block ends.

    A trial's run has the name that the sweep gave it. A follower gets a run that records nothing.
    """
    from contrastive_learning.runtime.interrupts import HeldSignals
    from contrastive_learning.tracking import NoRun
    from contrastive_learning.tracking.provenance import git_state

    if is_follower():
        yield NoRun()
        return
    resumed = recorded_run(output)
    if resumed is None and trial.continues:  # it may have been killed between opening its run and noting its id
        resumed = tracking.find({name: value for name, value in trial.tags().items() if name in SAME_JOB})
    git = git_state(CHECKOUT) if CHECKOUT is not None else {}  # an installed wheel may lie in a foreign repository
    name = trial.run_name or run_name(config)
    tags = {"seed": str(config.seed), "data.fingerprint": data.fingerprint}
    tags |= {**{f"git.{key}": value for key, value in git.items()}, **trial.tags()}
    with ExitStack() as closed:
        with HeldSignals():  # nobody would close a run that is interrupted here
            close_first()
            run = tracking.open(name, tags, folder=output, resume_run_id=resumed)
            closed.callback(_tell_what_waits, output)
            closed.enter_context(run)
            write_run(output, run.run_id, config, data)
        yield run


def _tell_what_waits(output: Path) -> None:
    from contrastive_learning.tracking.outbox import OUTBOX

    if (output / OUTBOX).exists():
        sync = shlex.join([*shlex.split(command("sync")), str(output)])
        logger.warning("part of the record is not sent yet; once the server answers, send it with: %s", sync)


def how_to_look(config: DictConfig) -> str | None:
    """The command that opens the MLflow UI of the run's store; None if that is no file."""
    uri = OmegaConf.select(config, "tracking.uri")
    file = None if uri is None else sqlite_path(uri)
    if file is None:
        return None
    is_default = file.expanduser().resolve() == Path(DEFAULT_STORE).resolve()
    return shlex.join([*shlex.split(command("ui")), *([] if is_default else ["--store", str(file)])])


def record_embeddings(
    run: "Run",
    output: Path,
    splits: Mapping[str, "TokenizedSplit"],
    evaluations: Mapping[str, "Evaluation"],
    criterion: int,
) -> None:
    """Write <split>.parquet for each evaluated split, and record it as an artifact.

    criterion: the place of the one on whose map the responses lie.
    """
    from contrastive_learning.data.responses import METRIC_PREFIXES

    for name, prefix in METRIC_PREFIXES.items():
        if prefix in evaluations:
            path = output / f"{name}.parquet"
            write_embeddings(path, splits[name], evaluations[prefix], criterion)
            run.artifact(path, "embeddings")


def record_training_embeddings(
    run: "Run", output: Path, split: "TokenizedSplit", judge: "MixedJudge", criterion: int
) -> None:
    """Write train.parquet, what the judge compares responses with, and record it as an artifact.

    Its probabilities are those of the classification head.
    """
    write_embeddings(output / "train.parquet", split, judge.training, criterion)
    run.artifact(output / "train.parquet", "embeddings")


def record_judge(
    run: "Run",
    config: DictConfig,
    output: Path,
    data: "TokenizedData",
    trainer: "ContrastiveTrainer",
    valid: "Evaluation",
) -> str | None:
    """Record the trained judge so that it can be served. Returns its address, or None if it was not recorded."""
    from contrastive_learning.serving import export_judge

    train = data.splits["train"]
    export_judge(
        output / "judge",
        trainer.accelerator.unwrap_model(trainer.model),
        data.tokenizer,
        data.criteria,
        valid,
        max_length=config.data.max_length,
        prefix=config.data.prefix,
        precision=trainer.precision,
        judge=trainer.judge,
        training_texts=zip(train.column("context"), train.column("response"), strict=True),
    )
    return run.model(output / "judge", data.criteria)


def record_review(run: "Run", output: Path) -> None:
    """Write which responses of valid and test to ask again about and whose votes may be wrong, and record the lists.

    They go to `REVIEW_FOLDER` as <kind>.jsonl, MOST_LISTED cells each; a list without cells is not written. Reads what
    `record_embeddings` and `record_judge` have written.
    """
    import pyarrow as pa

    from contrastive_app.judge.files import WRITERS
    from contrastive_app.judge.lists import ORDERS, Longest
    from contrastive_app.judge.models import settings_of
    from contrastive_app.judge.recorded import recorded_responses, recorded_scores

    settings = settings_of(output / "judge")
    files = [file for file in (output / "valid.parquet", output / "test.parquet") if file.exists()]
    tables = [recorded_scores(file, settings) for file in files]
    for kind in ORDERS:
        longest = Longest(kind, MOST_LISTED, settings)
        for table in tables:
            longest.add(table)
        rows = longest.listed(chain.from_iterable(recorded_responses(file, settings["criteria"]) for file in files))
        if rows:
            path = output / REVIEW_FOLDER / f"{kind}.jsonl"
            path.parent.mkdir(exist_ok=True)
            WRITERS[path.suffix]([pa.Table.from_pylist(rows)], path)
            run.artifact(path, REVIEW_FOLDER)


def record_stuck(run: "Run", trial: CurrentTrial) -> None:
    """Mark the run as stuck, and tell the sweep, so that it decides no comparison."""
    from contrastive_learning.training.diagnostics import STUCK

    run.tags({"stuck": "true"})
    trial.set_doubt(STUCK)


def describe_run(
    run: "Run",
    objectives: Mapping[str, float],
    metrics: Mapping[str, float],
    criteria: Sequence[str],
    splits: Iterable[str],
    *,
    epoch: int,
    remarks: Sequence[str],
) -> None:
    """Write the description on the run's page: remarks, the objectives, what it reached on each split, per criterion.

    splits: prefixes of metrics; epoch: the one that was kept.
    """
    splits = list(splits)
    reached = ", ".join(f"{name} {value:.4f}" for name, value in objectives.items())
    whole = [[split, *(_shown(metrics, f"{split}/{name}") for name in DESCRIBED)] for split in splits]
    each = [
        [name, *(" / ".join(_shown(metrics, f"{split}/{kind}/{name}") for kind in ("f1", "auroc")) for split in splits)]
        for name in criteria
    ]
    parts = [
        *remarks,
        f"**{reached}**, of epoch {epoch}",
        _markdown(["split", *DESCRIBED.values()], whole),
        "Per criterion, the mean of F1(yes) and F1(no) / AUROC:",
        _markdown(["criterion", *splits], each),
        f"The artifact `{METRICS_TABLE}` has every metric per criterion and epoch.",
    ]
    run.tags({"mlflow.note.content": "\n\n".join(parts)[:MAX_NOTE_LENGTH]})


def _shown(metrics: Mapping[str, float], name: str) -> str:
    return f"{metrics[name]:.3f}" if name in metrics else "-"


def _markdown(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heading, ["---"] * len(heading), *rows))


def write_metrics(output: Path, metrics: Mapping[str, float], kept_epoch: int, epochs: int) -> None:
    """Write metrics.json, from which the report of a sweep is made without MLflow."""
    content = {"kept_epoch": kept_epoch, "epochs": epochs, "metrics": dict(metrics)}
    (output / METRICS_FILE).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def record_start(run: "Run", config: DictConfig, data: "TokenizedData", trainer: "ContrastiveTrainer") -> None:
    """Record what the run can be repeated from: options, data, command line, versions, uncommitted changes."""
    from contrastive_learning.tracking.provenance import environment, git_diff

    choices = {group: name for group, name in HydraConfig.get().runtime.choices.items() if group in config}
    record_options(run, config, data, choices)
    run.text(redact(OmegaConf.to_yaml(config, resolve=True)), "config.yaml")
    run.text(redact("\n".join(HydraConfig.get().overrides.task)), "overrides.txt")
    machine = {"device": str(trainer.device), "precision": trainer.precision}
    run.text(json.dumps(environment() | machine, indent=2), "environment.json")
    if CHECKOUT is not None and (diff := git_diff(CHECKOUT)):
        run.text(diff, "uncommitted.diff")


def record_options(run: "Run", config: DictConfig, data: "TokenizedData", choices: Mapping[str, str]) -> None:
    """Record options and data. choices: group -> name of its file, as far as known."""
    from contrastive_learning.tracking.provenance import flatten

    options = {**choices, **flatten(OmegaConf.to_container(config, resolve=True))}
    # here, not only in the run: what the store cannot take yet waits in a file
    run.params({key: redact(value) if isinstance(value, str) else value for key, value in options.items()})
    for split, context in (("train", "training"), ("valid", "validation")):
        run.data(
            f"{choices.get('data', 'data')} {split}",
            context,
            fingerprint=data.fingerprint,
            source=str(config.data.path if "path" in config.data else config.data.source._target_),
            num_responses=len(data.splits[split]),
        )


def write_embeddings(path: Path, split: "TokenizedSplit", evaluation: "Evaluation", criterion: int) -> None:
    """Write a Parquet file with one row per response.

    Columns: id, domain, context (turns, oldest first), response; yes_votes, num_votes and probabilities, one value per
    criterion; features, embeddings; x, y on the criterion's map; neighbors, the rows of the nearest responses in its
    space with their distances, as Embedding Atlas reads them, unless there are too many responses.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from contrastive_learning.pictures import neighbourhood

    columns: dict[str, Any] = {name: split.column(name) for name in ("id", "domain", "context", "response")}
    for name in ("yes_votes", "num_votes", "probabilities", "features", "embeddings"):
        values = getattr(evaluation, name).astype(np.float32)
        flat = pa.array(values.reshape(-1))
        columns[name] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    points, neighbours, distances = neighbourhood(evaluation, criterion)
    columns["x"], columns["y"] = points.astype(np.float32).T
    if neighbours is not None and distances is not None:
        rows = zip(neighbours.tolist(), distances.tolist(), strict=True)
        columns["neighbors"] = [{"ids": ids, "distances": apart} for ids, apart in rows]
    pq.write_table(pa.table(columns), path)

"""The single entry point: build -> fit -> evaluate -> record -> return the objective.

python -m src.train loss=supcon loss.temperature=0.1
"""

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.command_line import check_keys, explain

if TYPE_CHECKING:
    from contrastive_learning.evaluation import Evaluation
    from contrastive_learning.tracking import Tracker

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
PREFIXES = {"valid": "val", "test": "test", "test_ood": "test_ood"}  # held-out split -> metric prefix
EVAL_BATCH_SIZE = 128


def train(config: DictConfig) -> float:
    """One training run as `config` says. Returns the objective at the best epoch."""
    # imported here, so that --help, --cfg job and mistyped overrides answer at once
    from torch.utils.data import DataLoader

    from contrastive_learning import ContrastiveTrainer
    from contrastive_learning.dataset import tokenize
    from contrastive_learning.evaluation import write_embeddings
    from contrastive_learning.pictures import RunPictures
    from contrastive_learning.progress import TrainingProgress, results_table
    from contrastive_learning.serving import export_judge
    from contrastive_learning.trainer import seed_everything

    settings, recipe, loss, optimizer, make_sampler, source, tracking, picture_settings = (
        instantiate(node, _convert_="all")
        for node in (
            config.trainer,
            config.model,
            config.loss,
            config.optimizer,
            config.sampler,
            config.data.source,
            config.tracking,
            config.pictures,
        )
    )
    _check_objective(config.objective.metric)
    output = Path(settings.resume_from or HydraConfig.get().runtime.output_dir).expanduser().resolve()
    data = tokenize(
        source,
        recipe.encoder,
        max_length=config.data.max_length,
        prefix=config.data.prefix,
        cache_dir=Path(config.data.cache_dir).expanduser().resolve(),
    )
    splits = data.splits
    seed_everything(config.seed)
    model = recipe.build(data.tokenizer, data.yes_rates)
    batches = make_sampler(splits["train"].yes_votes, splits["train"].num_votes)
    loaders = {
        prefix: DataLoader(
            splits[name],
            batch_sampler=splits[name].batches_by_length(EVAL_BATCH_SIZE),
            collate_fn=splits[name].collate,
        )
        for name, prefix in PREFIXES.items()
        if name in splits
    }
    pictures = RunPictures(
        picture_settings,
        splits["valid"],
        data.criteria,
        output,
        temperature=loss.temperature,
        lambda_contrastive=loss.lambda_contrastive,
        objective=config.objective.metric,
    )
    progress = TrainingProgress(settings.epochs, settings.monitor)
    for remark in data.remarks:
        progress.console.print(remark, highlight=False)

    with _open_run(tracking, output, config.seed, data.fingerprint) as run, progress:

        def log(metrics: dict[str, float], epoch: int) -> None:
            run.log(metrics, epoch)
            progress.on_epoch(metrics, epoch)

        def picture(evaluations: Mapping[str, "Evaluation"], metrics: Mapping[str, float], epoch: int) -> None:
            png = pictures.at_epoch(evaluations["val"], epoch, metrics[config.objective.metric])
            run.image(png, "val/embedding", epoch)

        trainer = ContrastiveTrainer(
            model,
            DataLoader(splits["train"], batch_sampler=batches, collate_fn=splits["train"].collate),
            loaders["val"],
            settings.device,
            settings,
            loss=loss,
            optimizer=optimizer,
            criteria=data.criteria,
            held_out={prefix: loader for prefix, loader in loaders.items() if prefix != "val"},
            checkpoint_dir=output / "checkpoints",
            on_step=progress.on_step,
            log=log,
            on_evaluation=picture,
        )
        if settings.resume_from is None:
            _record_start(run, config, str(trainer.device))
        else:
            trainer.resume(output / "checkpoints")
            progress.epoch = trainer.epoch
        trainer.fit()
        final, evaluations = trainer.evaluate_all()
        objective = final[config.objective.metric]
        run.log({f"final/{config.objective.metric}": objective}, trainer.epoch)
        for name, prefix in PREFIXES.items():
            if prefix in evaluations:
                write_embeddings(output / f"{name}.parquet", splits[name], evaluations[prefix])
                run.artifact(output / f"{name}.parquet", "embeddings")
        assert trainer.best is not None
        for path, folder in pictures.at_end(evaluations["val"], trainer.best[0], objective):
            run.artifact(path, folder)
        export_judge(
            output / "judge",
            model,
            data.tokenizer,
            data.criteria,
            evaluations["val"],
            max_length=config.data.max_length,
            prefix=config.data.prefix,
        )
        served = run.model(output / "judge", data.criteria)
        run.artifact(output / "checkpoints")
    progress.console.print(results_table(final, data.criteria, evaluations))
    progress.console.print(f"Recorded: {run.location()}", highlight=False, soft_wrap=True)
    if served is not None:
        progress.console.print(f"Model:    {served}", highlight=False, soft_wrap=True)
    progress.console.print(f"Output:   {output}", highlight=False, soft_wrap=True)
    return float(objective)


def _open_run(tracking: "Tracker", output: Path, seed: int, fingerprint: str) -> "Tracker":
    """Open a run, or the one that a resumed output folder belongs to."""
    from contrastive_learning.provenance import git_state

    run_file = output / "run.json"
    resumed = json.loads(run_file.read_text())["run_id"] if run_file.exists() else None
    tags = {"seed": str(seed), "data.fingerprint": fingerprint}
    tags |= {f"git.{name}": value for name, value in git_state(ROOT).items()}
    run = tracking.open(None, tags, resume_run_id=resumed)
    run_file.write_text(json.dumps({"run_id": run.run_id}))
    return run


def _record_start(run: "Tracker", config: DictConfig, device: str) -> None:
    from contrastive_learning.provenance import environment, flatten, git_diff

    run.params(flatten(OmegaConf.to_container(config, resolve=True)))
    run.text(OmegaConf.to_yaml(config, resolve=True), "config.yaml")
    run.text("\n".join(HydraConfig.get().overrides.task), "overrides.txt")
    run.text(json.dumps(environment() | {"device": device}, indent=2), "environment.json")
    if diff := git_diff(ROOT):
        run.text(diff, "uncommitted.diff")


def _check_objective(metric: str) -> None:
    if "total_loss" in metric or "contrastive_loss" in metric:
        raise ValueError(f"objective.metric must not depend on temperature or lambda by construction, got {metric}")


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def run_from_hydra(config: DictConfig) -> float:
    try:
        check_keys(config, CONF)
        return train(config)
    except (ValueError, FloatingPointError, HydraException, OmegaConfBaseException) as error:
        if HydraConfig.get().mode == RunMode.RUN:
            sys.exit(f"error: {_innermost(error)}")
        raise


def _innermost(error: BaseException) -> str:
    """Hydra wraps what a constructor raises; the first cause is what a person needs."""
    while isinstance(error, HydraException) and error.__cause__ is not None and "unexpected keyword" not in str(error):
        error = error.__cause__
    return explain(error, CONF)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(signum).name)


def main() -> Any:
    """The console command."""
    signal.signal(signal.SIGTERM, _interrupt)  # so that a killed run is closed as KILLED
    own = "HYDRA_FULL_ERROR" not in os.environ
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra then hands its errors to us instead of printing them
    try:
        return run_from_hydra()
    except KeyboardInterrupt as interrupt:
        print("interrupted; continue with trainer.resume_from=<the output folder>", file=sys.stderr)
        sys.exit(143 if "SIGTERM" in interrupt.args else 130)
    except (HydraException, OmegaConfBaseException) as error:
        if not own:
            raise
        sys.exit(f"error: {_innermost(error)}")


if __name__ == "__main__":
    main()

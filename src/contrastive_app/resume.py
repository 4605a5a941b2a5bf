"""The output folder of a run, and whether the run continues from a checkpoint in it."""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from contrastive_app.command_line import quoted
from contrastive_app.paths import absolute
from hydra_plugins.contrastive_sweeper.trial import CurrentTrial
from mlflow_stores import redact

if TYPE_CHECKING:
    from contrastive_learning.data.tokenized import TokenizedData

RUN_FILE = "run.json"  # in the output folder
MAY_CHANGE_ON_RESUME = (
    "trainer.epochs",
    "trainer.patience",
    "trainer.device",
    "trainer.compile",
    "trainer.padding_free",
    "trainer.keep_checkpoints",
    "trainer.resume_from",
    "trainer.held_out_each_epoch",
    "tracking.",
    "data.cache_dir",
    "data.report",
)
DEFAULTS_OF_OUR_OWN = {"data.view_cutoff": 0.0}  # of newer options that no constructor gets


def output_folder(config: DictConfig, trial: CurrentTrial) -> Path:
    """The folder that the run writes to: a new one, or that of the interrupted run which it continues.

    Raises ValueError if the interrupted run had other options, since its record would no longer say what was run, and
    if a new run would overwrite the files of another.
    """
    from contrastive_learning.runtime.processes import broadcast_from_main

    if config.trainer.resume_from is None:
        new = Path(broadcast_from_main(HydraConfig.get().runtime.output_dir)).resolve()
        if (new / RUN_FILE).exists() and not trial.continues:
            option = quoted("trainer.resume_from", str(new))
            raise ValueError(f"{new} holds another run: continue that with {option}, or move it away")
        return new
    folder = Path(config.trainer.resume_from).expanduser().resolve()
    if not (folder / RUN_FILE).exists():
        raise ValueError(f"trainer.resume_from must be the output folder of an interrupted run, got {folder}")
    if not has_checkpoint(folder):
        raise ValueError(
            f"the run in {folder} has no checkpoint to continue from: it was interrupted before the first, or it has "
            "ended, and trainer.keep_checkpoints=true did not keep them"
        )
    before, now = read_run(folder, "config")["config"], fixed_options(config)
    differing = changed_options(before, config, Path(HydraConfig.get().runtime.cwd))
    if differing:
        was = ", ".join(f"{key}={before.get(key)} (now {now.get(key)})" for key in differing[:5])
        raise ValueError(f"the run in {folder} had other options: {was}; repeat them to continue it")
    return folder


def changed_options(before: Mapping[str, Any], config: DictConfig, start: Path) -> list[str]:
    """The options, as dotted keys, that a run which began with `before` would not find the same in `config`.

    An option that did not exist then is the same if it has its constructor's default, which stands for what was done
    before there was the option. Relative paths mean the folder `start`.
    """
    now = fixed_options(config)
    return [
        key
        for key in sorted(before.keys() | now.keys())
        if absolute(key, before.get(key), start) != absolute(key, now.get(key), start)
        and (key in before or now[key] != _default(config, key))
    ]


def _default(config: DictConfig, key: str) -> Any:
    """What the constructor that gets the option does without it; an object that equals no value if it needs it."""
    if key in DEFAULTS_OF_OUR_OWN:
        return DEFAULTS_OF_OUR_OWN[key]
    path, _, name = key.rpartition(".")
    target = OmegaConf.select(config, f"{path}._target_") if path else None
    parameters = {} if target is None else inspect.signature(get_object(target)).parameters
    return parameters[name].default if name in parameters else inspect.Parameter.empty


def read_run(output: Path, *fields: str) -> dict[str, Any]:
    """What the run in `output` has left in its run.json. Raises ValueError if that is damaged, or lacks a field."""
    file = output / RUN_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict) or any(field not in content for field in fields):
        raise ValueError(f"{file} is damaged: restore it from a copy, or start a new run in another folder")
    return content


def write_run(output: Path, run_id: str | None, config: DictConfig, data: "TokenizedData") -> None:
    """Write run.json: what a resumed run must repeat, and what an exported judge tells of its run.

    At no moment is it half written, since without it the run could not be continued.
    """
    about = {"run_id": run_id, "data": data.fingerprint, "num_training": len(data.splits["train"])}
    content = about | {"config": fixed_options(config)}
    temporary = output / f".writing-{RUN_FILE}"
    temporary.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    temporary.replace(output / RUN_FILE)


def is_continued(config: DictConfig, output: Path, trial: CurrentTrial) -> bool:
    """Whether the run starts from a checkpoint: that of `trainer.resume_from`, or that of its interrupted trial."""
    return config.trainer.resume_from is not None or (trial.continues and has_checkpoint(output))


def has_checkpoint(output: Path) -> bool:
    from contrastive_learning.training.checkpoints import INDEX

    return (output / "checkpoints" / INDEX).exists()


def discard(config: DictConfig, output: Path) -> None:
    """Delete the checkpoints of a trial that will not continue, unless the configuration keeps those of ended runs."""
    from contrastive_learning.training.checkpoints import delete_checkpoints

    if not config.trainer.keep_checkpoints:
        delete_checkpoints(output / "checkpoints")


def fixed_options(config: DictConfig) -> dict[str, Any]:
    """The options that a resumed run must repeat, as dotted key -> value without credentials."""
    from contrastive_learning.tracking.provenance import flatten

    options = flatten(OmegaConf.to_container(config, resolve=True))
    fixed = {key: value for key, value in options.items() if not key.startswith(MAY_CHANGE_ON_RESUME)}
    return {key: redact(value) if isinstance(value, str) else value for key, value in fixed.items()}

"""The single entry point: build -> fit -> evaluate -> record -> return the objective.

python -m src.train loss=supcon loss.temperature=0.1
"""

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from contrastive_app.command_line import as_set, check_keys, explain, quoted
from contrastive_app.launched import FOLLOWER_WAIT_SECONDS, WAIT_SECONDS, is_follower, wait_to_be_stopped
from contrastive_app.parts import Objective, wants_report
from contrastive_app.paths import from_start
from contrastive_app.places import CONF
from contrastive_app.record import LOG_FILE
from contrastive_app.resume import has_checkpoint
from contrastive_app.secrets import append, redact_output
from contrastive_app.studies import find_studies_by_name
from optuna_sweep.errors import innermost

if TYPE_CHECKING:
    from contrastive_app.training_run import RecordedRun


class _Latest:
    run: "RecordedRun | None" = None


def latest_run() -> "RecordedRun | None":
    """The run that this process has trained last; None if it has trained none."""
    return _Latest.run


def train(config: DictConfig) -> Objective:
    """Train once as `config` says. Returns the objective at the best epoch or, if the trial is pruned, at its last.

    Raises ValueError outside a command of Hydra: `contrastive_app.python.train` is for notebooks and scripts.
    """
    if not HydraConfig.initialized() or OmegaConf.is_missing(HydraConfig.get().runtime, "output_dir"):
        raise ValueError(
            "train(config) works in a command that Hydra runs; in a notebook or script call train(overrides) "
            "of contrastive_app.python"
        )
    from contrastive_app.training_run import TrainingRun

    _Latest.run = run = TrainingRun(config).run()
    return run.objective


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def run_from_hydra(config: DictConfig) -> Objective | None:
    try:
        check_keys(config, CONF)
        config = from_start(config, Path(HydraConfig.get().runtime.cwd))
        if wants_report(config, in_sweep=HydraConfig.get().mode == RunMode.MULTIRUN):
            from contrastive_app.data_report import print_report

            print_report(config)
            return None
        return train(config)
    except (ValueError, OSError, FloatingPointError, HydraException, OmegaConfBaseException) as error:
        line = f"error: {as_set(_innermost(error), config)}"
        _write_to_log(config, line)
        if HydraConfig.get().mode == RunMode.RUN:
            _discard_if_unused(Path(HydraConfig.get().runtime.output_dir))
            sys.exit(line)
        raise
    except RuntimeError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            wait_to_be_stopped(error, FOLLOWER_WAIT_SECONDS if is_follower() else WAIT_SECONDS)
        raise
    except KeyboardInterrupt:
        output = config.trainer.resume_from or HydraConfig.get().runtime.output_dir
        if HydraConfig.get().mode == RunMode.RUN and not is_follower():
            option = quoted("trainer.resume_from", str(output))
            how = f"; to continue, repeat the command with {option}" if has_checkpoint(Path(output)) else ""
            print(f"interrupted{how}", file=sys.stderr)
            _write_to_log(config, f"interrupted{how}")
        raise


def _write_to_log(config: DictConfig, line: str) -> None:
    """The last line that a person sees is also the last of the run's log."""
    folders = (OmegaConf.select(config, "trainer.resume_from"), HydraConfig.get().runtime.output_dir)
    folder = next((folder for folder in folders if folder and Path(folder).is_dir()), None)
    if folder is not None and not is_follower():
        append(Path(folder) / LOG_FILE, f"{line}\n")


def _discard_if_unused(output: Path) -> None:
    """Remove the output folder of a run that was refused before it began, if it holds only what tells so."""
    start = Path(HydraConfig.get().runtime.cwd)
    if is_follower() or output == start or not {path.name for path in output.iterdir()} <= {".hydra", LOG_FILE}:
        return
    shutil.rmtree(output)
    for folder in output.parents[:2]:  # of the day, and `outputs`
        if start in folder.parents:
            with suppress(OSError):  # it holds other runs
                folder.rmdir()


def _innermost(error: BaseException) -> str:
    """Hydra wraps what a constructor raises; the first cause is what a person needs. The sweep engine words its own."""
    return explain(error if "unexpected keyword" in str(error) else innermost(error), CONF)


def main() -> Any:
    """What start.main runs once it answers signals. Exit codes: see there."""
    # before torch is loaded: OpenMP threads that spin while they wait take the cores from other runs on this machine.
    # They sleep, but first spin for some 20 µs, within which most waits end (tests/benchmarks/waiting_threads.py)
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    redact_output()
    own = "HYDRA_FULL_ERROR" not in os.environ
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra then hands its errors to us instead of printing them
    try:
        find_studies_by_name(sys.argv[1:])
        return run_from_hydra()
    except KeyboardInterrupt as interrupt:
        sys.exit(143 if "SIGTERM" in interrupt.args else 130)
    except (HydraException, OmegaConfBaseException, OSError) as error:  # an output folder that cannot be made
        wait_to_be_stopped(error)
        if not own:
            raise
        sys.exit(f"error: {_innermost(error)}")
    except BaseException as error:
        wait_to_be_stopped(error)
        raise

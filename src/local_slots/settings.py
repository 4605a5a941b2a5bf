"""The settings of `hydra/launcher: local`."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class LocalLauncherConf:
    """Each setting is an option `hydra.launcher.<name>` of the command line.

    As many trials at a time as there are cores, on a machine without a GPU, each with one thread:

        python -m src.train -m --config-name smoke hydra.launcher.num_slots=cores

    On eight GPUs, four trials at a time, each one a data-parallel run of two processes:

        python -m src.train -m --config-name temperature_lambda hydra.launcher.gpus_per_trial=2
    """

    _target_: str = "hydra_plugins.local_launcher.local_launcher.LocalLauncher"
    # trials at a time; null: as many as the visible GPUs allow, 1 without a GPU; cores: one for each core without a GPU
    num_slots: Any = None
    gpus_per_trial: int = 1  # 0 hides the GPUs from the trials
    processes_per_trial: int | None = None  # with torchrun's variables; null: gpus_per_trial, at least 1
    # trials at a time per GPU; several if one small encoder uses little of it; auto: after the first one, which runs by
    # itself, as many as fit by its memory, but in all not more than num_slots, or cores
    slots_per_gpu: Any = 1
    multi_process_service: bool = True  # with several trials per GPU, start NVIDIA's if this user may; false: never
    threads_per_trial: int | None = None  # divided among its processes; null: cores / slots
    # modules that are imported once, before the first trial, and functions that are called, as module:function; each
    # trial finds what they have loaded. A thread that one starts does not exist in the trials
    preload: list[str] = field(default_factory=lambda: ["torch", "transformers", "mlflow", "optuna"])
    grace_seconds: float = 10.0  # between SIGTERM and SIGKILL, when a trial is stopped
    job_log: str | None = "job.log"  # file in each trial's folder for its stdout and stderr; null: the terminal

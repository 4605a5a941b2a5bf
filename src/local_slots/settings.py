"""The settings of `hydra/launcher: local`."""

from dataclasses import dataclass, field


@dataclass
class LocalLauncherConf:
    """Each setting is an option `hydra.launcher.<name>` of the command line.

    Two trials at a time on a machine without a GPU, each with two threads:

        python -m src.train -m --config-name smoke hydra.launcher.num_slots=2 hydra.launcher.threads_per_trial=2

    On eight GPUs, four trials at a time, each one a data-parallel run of two processes:

        python -m src.train -m --config-name temperature_lambda hydra.launcher.gpus_per_trial=2
    """

    _target_: str = "hydra_plugins.local_launcher.local_launcher.LocalLauncher"
    num_slots: int | None = None  # trials at a time; null: as many as the visible GPUs allow, 1 without a GPU
    gpus_per_trial: int = 1  # 0 hides the GPUs from the trials
    processes_per_trial: int | None = None  # with torchrun's variables; null: gpus_per_trial, at least 1
    allow_shared_gpus: bool = False  # true: there may be more slots than GPUs for them
    threads_per_trial: int | None = None  # divided among its processes; null: cores / slots
    # modules that are imported once, before the first trial; each trial finds them loaded
    preload: list[str] = field(default_factory=lambda: ["torch", "transformers", "mlflow", "optuna"])
    grace_seconds: float = 10.0  # between SIGTERM and SIGKILL, when a trial is stopped
    job_log: str | None = "job.log"  # file in each trial's folder for its stdout and stderr; null: the terminal

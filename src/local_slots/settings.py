"""What `hydra/launcher: local` can be told."""

from dataclasses import dataclass, field


@dataclass
class LocalLauncherConf:
    _target_: str = "hydra_plugins.local_launcher.local_launcher.LocalLauncher"
    num_slots: int | None = None  # jobs at a time; null: as many as the visible GPUs allow, one without a GPU
    gpus_per_trial: int = 1  # 0 hides the GPUs from the jobs
    processes_per_trial: int | None = None  # with torchrun's variables; null: gpus_per_trial, at least 1
    allow_shared_gpus: bool = False
    threads_per_trial: int | None = None  # shared by its processes; null: cores / slots
    preload: list[str] = field(default_factory=lambda: ["torch", "transformers", "mlflow", "optuna"])
    grace_seconds: float = 10.0  # between SIGTERM and SIGKILL
    job_log: str | None = "job.log"  # in each job's folder, its stdout and stderr; null: they stay on the terminal

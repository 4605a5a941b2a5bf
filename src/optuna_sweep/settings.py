"""The options of `hydra/sweeper: optuna`, of its samplers and of its pruners.

Hydra imports this at each start, so it imports nothing heavy.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class ConfirmConf:
    """After the search, run the best again with seeds that the search has not seen; the mean over them decides."""

    top_k: int = 0  # 0 = no confirm stage
    num_seeds: int = 3  # 0 = no confirm stage
    baseline: Any = None  # {loss.lambda_contrastive: 0}: the best with these values, or what to change in the best
    stop_early: bool = False  # look while the runs come in; end once they decide it, or if the rest would hardly

    @property
    def is_wanted(self) -> bool:
        return self.top_k > 0 and self.num_seeds > 0


@dataclass
class OptunaSweeperConf:
    """One study. The keys of the official Optuna plugin mean what they mean there.

    A primary configuration for `python -m src.train --config-dir sweeps --config-name NAME`:

        defaults:
          - train
          - override hydra/sweeper: optuna
          - _self_
        hydra:
          mode: MULTIRUN
          sweeper:
            direction: maximize
            metric: val/macro_f1
            n_trials: 30
            params:
              loss.temperature: tag(log, interval(0.03, 0.5))
              loss.lambda_contrastive: choice(0, 0.1, 0.3)
    """

    _target_: str = "hydra_plugins.contrastive_sweeper.sweeper.OptunaSweeper"
    _recursive_: bool = False
    _convert_: str = "all"
    defaults: list[Any] = field(default_factory=lambda: [{"sampler": "auto"}, {"pruner": "none"}])

    sampler: Any = MISSING
    pruner: Any = MISSING
    direction: Any = "minimize"  # minimize or maximize, or a list for several objectives
    metric: Any = None  # the key to read if the task returns a dict; else only a name for tables
    storage: Any = None  # a journal file or a database URL; null: optuna.journal in the working directory
    study_name: str | None = None  # null: made from the configuration, so that the same command finds its study
    n_trials: int | None = None  # COMPLETE and PRUNED ones of all commands together; null: all of a grid, else 20
    n_jobs: int | None = None  # trials at a time; null: the launcher's slots; 2 for a launcher of batches, 1 for basic
    # key: interval(0.1, 1), choice(a, b), range(1, 4), tag(log, interval(1, 9))
    params: dict[str, Any] | None = field(default_factory=dict)
    search_space: dict[str, Any] | None = field(default_factory=dict)  # the older form of params
    custom_search_space: str | None = None  # path of a function (config, trial) that suggests further parameters

    enqueue: list[dict[str, Any]] = field(default_factory=list)  # points to start with
    warm_start: list[str] = field(default_factory=list)  # folders of earlier sweeps, or studies of the storage
    seeds: list[int] = field(default_factory=list)  # run each configuration with each seed; its value is the mean
    race: bool = False  # no further seeds for a configuration that can hardly become the best
    seed_key: str = "seed"
    choose: str = "value"  # or estimate: by a Gaussian process of all trials, so that luck chooses less
    confirm: ConfirmConf = field(default_factory=ConfirmConf)
    fresh: bool = False  # take the next free name, and reuse nothing from older studies

    timeout: float | None = None  # seconds after which no trial starts
    trial_timeout: float | None = None  # seconds
    target: float | None = None  # stop when the best trial is at least as good
    patience: int | None = None  # stop after so many trials without a better one
    max_failure_rate: float = 1.0  # of each n_jobs trials in turn
    max_failures: int | None = 10
    max_consecutive_failures: int | None = 3
    storage_patience: float = 600.0  # seconds to wait if the storage or the MLflow server goes away in mid-sweep
    max_retries: int = 1  # of a trial whose process died
    continue_interrupted: bool = False  # as the same trial in its folder; the task asks current_trial().continues

    dry_run: bool = False
    top_k: int = 5  # rows of the table at the end
    labels: dict[str, str] = field(default_factory=dict)  # key: short name in tables and run names
    ignored_keys: list[str] = field(default_factory=list)  # keys whose values may differ between the trials of a study
    report_key: str | None = None  # an option of the task; unless it is null, tables count reports instead of epochs
    check: str | None = None  # path of a function (config) that raises on a point that its trial would refuse
    discard: str | None = None  # path of a function (config, folder) that deletes the checkpoints of a given-up trial
    preflight: str | None = None  # path of a function (config) that raises on bad input and returns a data fingerprint
    report: str | None = None  # path of a function (config, Outcome, folder) that makes more files
    soup: str | None = None  # greedy: the report averages weights of the best runs; what it means is up to the report
    mlflow_uri: str | None = None
    mlflow_experiment: str | None = None
    mlflow_ui: str = "http://127.0.0.1:5000"  # where the UI answers, unless mlflow_uri is itself a server
    # series of pictures that jobs log, to show in the comparison; metrics and params to show in its table, besides the
    # objectives and what is swept
    mlflow_images: list[str] = field(default_factory=list)
    mlflow_columns: list[str] = field(default_factory=list)

    # set by the sweeper for each job
    trial_number: int | None = None
    trial_name: str | None = None
    trial_dir: str | None = None
    trial_reports: bool = False
    trial_continues: bool = False
    trial_alarm: float | None = None
    parent_run_id: str | None = None


@dataclass
class AutoSamplerConf:
    """GP for continuous spaces of few dimensions, else TPE."""

    _target_: str = "auto"
    seed: int | None = None


@dataclass
class GridSamplerConf:
    _target_: str = "grid"
    seed: int | None = None


@dataclass
class GPSamplerConf:
    _target_: str = "optuna.samplers.GPSampler"
    seed: int | None = None
    n_startup_trials: int = 10
    deterministic_objective: bool = False
    warn_independent_sampling: bool = False


@dataclass
class TPESamplerConf:
    _target_: str = "optuna.samplers.TPESampler"
    seed: int | None = None
    n_startup_trials: int = 10
    n_ei_candidates: int = 24
    multivariate: bool | None = None
    group: bool | None = None
    constant_liar: bool = True
    # only for configurations of the official plugin; Optuna 5 warns about them
    consider_prior: bool | None = None
    prior_weight: float | None = None
    consider_magic_clip: bool | None = None
    consider_endpoints: bool | None = None
    warn_independent_sampling: bool | None = None


@dataclass
class RandomSamplerConf:
    _target_: str = "optuna.samplers.RandomSampler"
    seed: int | None = None


@dataclass
class CmaEsSamplerConf:
    _target_: str = "optuna.samplers.CmaEsSampler"
    seed: int | None = None
    x0: dict[str, Any] | None = None
    sigma0: float | None = None
    n_startup_trials: int = 1
    warn_independent_sampling: bool = False
    consider_pruned_trials: bool | None = None
    restart_strategy: str | None = None
    popsize: int | None = None
    inc_popsize: int | None = None
    use_separable_cma: bool | None = None


@dataclass
class QMCSamplerConf:
    _target_: str = "optuna.samplers.QMCSampler"
    seed: int | None = None
    qmc_type: str = "sobol"
    scramble: bool = True
    warn_asynchronous_seeding: bool = False
    warn_independent_sampling: bool = False


@dataclass
class NSGAIISamplerConf:
    _target_: str = "optuna.samplers.NSGAIISampler"
    seed: int | None = None
    population_size: int = 50
    mutation_prob: float | None = None
    crossover_prob: float = 0.9
    swapping_prob: float = 0.5


@dataclass
class HubSamplerConf:
    """A sampler of OptunaHub; needs the package optunahub."""

    _target_: str = "optuna_sweep.plan.hub.hub_sampler"
    name: str = MISSING  # of its package: samplers/hebo
    class_name: str | None = None  # null: the package's first sampler
    registry: str | None = None  # a folder with packages; null: the hub
    arguments: dict[str, Any] = field(default_factory=dict)  # of the class
    seed: int | None = None


@dataclass
class NopPrunerConf:
    _target_: str = "optuna.pruners.NopPruner"


@dataclass
class MedianPrunerConf:
    _target_: str = "optuna.pruners.MedianPruner"
    n_startup_trials: int = 4
    n_warmup_steps: int = 2  # reports: a warm-up of one epoch, and one to tell the trials apart
    interval_steps: int = 1
    n_min_trials: int = 1


@dataclass
class HyperbandPrunerConf:
    _target_: str = "optuna.pruners.HyperbandPruner"
    min_resource: int = 1  # reports: epochs, unless trials report within them, too
    max_resource: Any = "auto"
    reduction_factor: int = 3
    bootstrap_count: int = 0


@dataclass
class SuccessiveHalvingPrunerConf:
    _target_: str = "optuna.pruners.SuccessiveHalvingPruner"
    min_resource: Any = 1  # reports
    reduction_factor: int = 4
    min_early_stopping_rate: int = 0
    bootstrap_count: int = 0


@dataclass
class PromotionPrunerConf:
    """Asynchronous successive halving whose stopped trials are paused, and continue when they deserve more (ASHA)."""

    _target_: str = "optuna_sweep.study.promotion.PromotionPruner"
    min_resource: int = 1  # reports before a trial can pause: epochs, unless it reports within them, too
    reduction_factor: int = 3  # the best third continues, to three times as many reports
    progressive: bool = False  # let none continue to more reports than are needed to rank the trials (PASHA)
    max_paused: int = 5  # of each rung, on this machine, with their checkpoints; beyond that, the worst is pruned


@dataclass
class PatientPrunerConf:
    _target_: str = "optuna.pruners.PatientPruner"
    wrapped_pruner: Any = field(default_factory=lambda: asdict(MedianPrunerConf()))  # null: only patience decides
    patience: int = 2  # reports
    min_delta: float = 0.0


SAMPLERS = {
    "auto": AutoSamplerConf,
    "gp": GPSamplerConf,
    "tpe": TPESamplerConf,
    "motpe": TPESamplerConf,  # its own class until Optuna 3
    "random": RandomSamplerConf,
    "cmaes": CmaEsSamplerConf,
    "qmc": QMCSamplerConf,
    "nsgaii": NSGAIISamplerConf,
    "grid": GridSamplerConf,
    "hub": HubSamplerConf,
}
PRUNERS = {
    "none": NopPrunerConf,
    "median": MedianPrunerConf,
    "hyperband": HyperbandPrunerConf,
    "successive_halving": SuccessiveHalvingPrunerConf,
    "patient": PatientPrunerConf,
    "promotion": PromotionPrunerConf,
}

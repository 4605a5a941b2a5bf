"""What a sweep found, as plain data: all that the files, the record and the application's report are made from."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from optuna_sweep.comparison import CONFIDENCE, Comparison, noise_width
from optuna_sweep.states import TrialStateName

MAX_NAMED = 20  # trials in one line
MAX_REASONS, REASON_LENGTH = 5, 160  # failures in one line, and characters of each


class SeedRun(NamedTuple):
    """One run of the task."""

    values: Sequence[float]  # of the objectives; empty unless it ended well
    folder: Path
    doubt: str = ""  # why it should not decide a comparison, as its task says; see CurrentTrial.set_doubt


def undoubted(runs: Mapping[int, SeedRun]) -> dict[int, SeedRun]:
    """The runs, by seed, that their tasks have no doubt about."""
    return {seed: run for seed, run in runs.items() if not run.doubt}


def doubts_of(runs: Iterable[SeedRun]) -> str:
    """How many runs are in doubt, and why; empty if none is.

    >>> doubts_of([SeedRun([0.5], Path()), SeedRun([0.1], Path(), "never left its start")])
    '1 of 2 runs never left its start'
    """
    doubts = [run.doubt for run in runs]
    counts = Counter(filter(None, doubts))
    return ", ".join(f"{count} of {len(doubts)} runs {doubt}" for doubt, count in sorted(counts.items()))


def failures(failed: Mapping[int, str], num_trials: int) -> str:
    """One line on trials that failed. failed: number -> reason.

    >>> failures({4: "ValueError: no data\\nin the file", 7: "out of memory"}, 9)
    '2 of 9 trials failed: 004 ValueError: no data, 007 out of memory'
    """
    named = [f"{number:03d} {reason.partition(chr(10))[0][:REASON_LENGTH]}" for number, reason in failed.items()]
    more = f", and {len(named) - MAX_REASONS} more" if len(named) > MAX_REASONS else ""
    return f"{len(named)} of {num_trials} trials failed: {', '.join(named[:MAX_REASONS])}{more}"


class Estimate(NamedTuple):
    """Of a configuration's objective over many seeds."""

    mean: float
    sd: float
    chance: float  # that it is the best of those that were tried


@dataclass(frozen=True)
class TrialResult:
    """What there is to say about one trial."""

    number: int
    name: str  # as in MLflow: 007 τ=0.083 λ=0.21
    state: TrialStateName
    params: Mapping[str, Any]
    values: Sequence[float]  # of the objectives, means over the seeds; empty unless COMPLETE, PRUNED or PAUSED
    last_step: int | None  # the last step that it reported
    seconds: float
    reason: str  # why it failed
    runs: Mapping[int, SeedRun]  # seed -> run
    is_feasible: bool = True  # meets the constraints that its task set
    folder: Path | None = None  # of its first run; None if it never ran
    retry_of: int | None = None  # number of the failed trial whose parameters it repeats
    rung: int | None = None  # at which it is paused
    reused_from: str | None = None  # study/number of the trial whose result it took, instead of a run of its own
    estimate: Estimate | None = None  # what it is worth, going by all trials; if hydra.sweeper.choose=estimate
    is_interrupted: bool = False  # WAITING, to be continued by the next command


@dataclass(frozen=True)
class Confirmation:
    """The runs of the confirm stage: each arm is one configuration, run with the same fresh seeds."""

    arms: Mapping[int | None, Mapping[int, SeedRun]]  # number of a trial, None = the baseline -> seed -> run
    seconds: float
    confidence: float = CONFIDENCE  # of intervals, so that all looks at the runs are wrong once in twenty


class ArmMean(NamedTuple):
    """The first objective of one arm over its fresh seeds."""

    mean: float
    sd: float  # 0 with one seed
    num_seeds: int
    doubts: str = ""  # 2 of 9 runs never left their start
    mean_without: float | None = None  # without them; None if there are none, or no others

    @property
    def in_doubt(self) -> str:
        """To add to a line: `; 2 of 9 runs never left their start; without them: 0.8100`, or nothing."""
        without = "" if self.mean_without is None else f"; without them: {self.mean_without:.4f}"
        return f"; {self.doubts}{without}" if self.doubts else ""


@dataclass(frozen=True)
class Findings:
    """What the confirm stage says."""

    chosen: str  # the arm with the best mean, never the baseline
    arms: Mapping[str, ArmMean]  # "trial 3" or "baseline" -> its mean
    verdict: str | None  # chosen against baseline, in words; None if no baseline ran
    gain: Comparison | None  # the same in numbers; None with fewer than two paired seeds, too
    gain_without: Comparison | None = None  # without runs in doubt; None if there are none


@dataclass(frozen=True)
class Outcome:
    """The end of a sweep, summed up once.

    `hydra.sweeper.report` names a function that gets it and yields the files that it made, and as texts what is said
    first on the screen and in the record: a headline, its reason, further lines.

        def report(config, outcome, folder):
            best = outcome.best
            yield f"The best is {best.name}."
            (folder / "best.txt").write_text(f"{best.name}: {outcome.metrics[0]} {best.values[0]}")
            yield folder / "best.txt"
    """

    study: str
    metrics: Sequence[str]
    directions: Sequence[str]  # minimize or maximize, for each metric
    seed_key: str  # the configuration's key for the seed
    labels: Mapping[str, str]  # parameter -> short name
    trials: Sequence[TrialResult]  # finished ones: best first, then pruned, then failed
    front: Sequence[int]  # numbers of the Pareto-optimal trials; with one objective, of the chosen one
    chosen: int | None  # number of the trial that the sweep settles on; None while none is COMPLETE
    confirmation: Confirmation | None
    findings: Findings | None = None
    unfinished: Sequence[TrialResult] = ()  # RUNNING and WAITING ones
    space: Mapping[str, str] = field(default_factory=dict)  # parameter -> what was searched, in words
    sampler: str = ""  # path of Optuna's class, or "grid"
    seeds: Sequence[int] = ()  # of every trial; empty if they all have the configuration's
    storage: Any = ""  # the study's, without credentials
    sweep_dir: Path = Path()
    best_config: Mapping[str, Any] = field(default_factory=dict)  # the task's, with the chosen parameters
    command: str = ""  # that continues the sweep, without credentials
    soup: str | None = None  # as hydra.sweeper.soup says
    step_name: str = "epoch"  # what a step of a trial is, in words: an epoch, or a report
    parent_run_id: str | None = None  # of the sweep's run in MLflow
    answer: Sequence[str] = ()  # what the report says: a headline, its reason, then further lines

    @property
    def best(self) -> TrialResult | None:
        """The trial that the sweep settles on."""
        return next((trial for trial in self.trials if trial.number == self.chosen), None)

    @property
    def chance(self) -> str:
        """The estimate of the trial that the sweep settles on, in words; empty if there is none."""
        if self.best is None or self.best.estimate is None:
            return ""
        mean, sd, chance = self.best.estimate
        return (
            f"chosen by estimate: trial {self.best.number:03d}, {self.metrics[0]} {mean:.4f} ± {sd:.4f}, "
            f"the best of {len(self.complete)} with a chance of {100 * chance:.0f} %"
        )

    @property
    def complete(self) -> list[TrialResult]:
        """COMPLETE trials, best first."""
        return [trial for trial in self.trials if trial.state == "COMPLETE"]

    @property
    def is_noise(self) -> bool:
        """Whether COMPLETE configurations lie no further apart in the first objective than equal ones easily do."""
        groups: dict[str, list[float]] = {}
        for trial in self.complete:
            others = {name: value for name, value in trial.params.items() if name != self.seed_key}
            seeds = [run.values[0] for run in trial.runs.values() if run.values]
            groups.setdefault(repr(sorted(others.items())), []).extend(seeds or trial.values[:1])
        means = [sum(values) / len(values) for values in groups.values()]
        arms = {} if self.confirmation is None else self.confirmation.arms
        fresh = [[run.values[0] for run in runs.values() if run.values] for runs in arms.values()]
        return bool(means) and max(means) - min(means) <= noise_width([*groups.values(), *fresh])

    @property
    def failed(self) -> list[TrialResult]:
        """FAIL trials whose parameters no other trial has brought to an end."""
        ended = [trial.params for trial in self.trials if trial.state in ("COMPLETE", "PRUNED")]
        return [trial for trial in self.by_number if trial.state == "FAIL" and trial.params not in ended]

    @property
    def doubts(self) -> str:
        """Which runs of the search are in doubt; empty if none is."""
        found = [trial for trial in self.by_number if doubts_of(trial.runs.values())]
        numbers = ", ".join(f"{trial.number:03d}" for trial in found[:MAX_NAMED]) + ", …" * (len(found) > MAX_NAMED)
        words = doubts_of(run for trial in self.complete for run in trial.runs.values())
        return f"{words} (trial{'s' * (len(found) > 1)} {numbers})" if found else ""

    @property
    def trained(self) -> str:
        """How much was trained; empty if no trial was pruned or paused: 23 of the 81 epochs of a full search (28 %)."""
        begun = [trial for trial in self.by_number if trial.state not in ("FAIL", "WAITING")]
        whole = max((trial.last_step or 0 for trial in self.complete), default=0)
        if not whole or all(trial.state == "COMPLETE" for trial in begun):
            return ""
        # the first seed reports what it trained; each other one that ran came to its end
        first = sum(trial.last_step or 0 for trial in begun)
        others = sum(whole * (len(trial.runs) - 1) for trial in begun if trial.runs and trial.reused_from is None)
        full = whole * max(1, len(self.seeds)) * len(begun)
        return f"{first + others} of the {full} {self.step_name}s of a full search ({(first + others) / full:.0%})"

    @property
    def by_number(self) -> list[TrialResult]:
        """All trials, finished or not, in the order in which they were made."""
        return sorted((*self.trials, *self.unfinished), key=lambda trial: trial.number)

    @property
    def counts(self) -> dict[str, int]:
        """State -> number of trials, in alphabetical order."""
        return dict(sorted(Counter(trial.state for trial in self.by_number).items()))

"""What each pruner finds, and what it costs, on the same simulated learning curves.

    python tests/benchmarks/pruners.py [--epochs 9 27] [--reports 3] [--trials 27] [--seeds 5]

One trial at a time takes random points, in the same order for every pruner. Optuna's pruners are asked by Optuna;
`promotion` and its `progressive` form follow the rule that the sweeper follows. Printed per pruner, as means over the
studies: the share of the full search's epochs, and how far the trial that it settles on is behind the one that the full
search settles on: in the value that it ended with, and in its true mean over seeds, which no search can see. Both in
standard deviations of one run over seeds, with the number of studies in which it is at most one of them behind.

The lines `in steps` have `--reports` reports in each epoch, as with `trainer.report_every`, all others one at its end.

A run approaches its end exponentially, by 45 % of the way in the first epoch at the middle learning rate, as on the
sample data. A higher rate is faster, but ends best in the middle of the range (.1 worse at its ends); temperature and
lambda move the end by up to .01, the seed by .02 (one standard deviation), and each epoch's value by .01.
"""

import argparse
import math
import random
import statistics
from collections.abc import Callable, Mapping
from typing import NamedTuple

import optuna

from optuna_sweep.rungs import Rungs

SEED_SD, EPOCH_SD = 0.02, 0.01
START, END = 0.5, 0.85
EPOCHS_NEEDED = 1.7  # for 63 % of the way, at the middle learning rate

Curve = Mapping[int, float]  # number of the report -> value, the higher the better


class Run(NamedTuple):
    curve: Curve  # a report per epoch
    curve_in_steps: Curve  # several reports per epoch; those at the ends of epochs are the same
    true_mean: float  # of the end, over seeds

    @property
    def end(self) -> float:
        return self.curve[max(self.curve)]


class Found(NamedTuple):
    run: Run  # that the search settles on
    num_epochs: float


def simulated(draw: random.Random, num_epochs: int, num_reports: int, draw_within: random.Random) -> Run:
    """num_reports: of each epoch of `curve_in_steps`; draw_within: for the noise of those within an epoch."""
    log_rate, log_temperature, log_weight = (draw.uniform(-1, 1) for _ in range(3))
    mean = END - 0.1 * log_rate**2 - 0.005 * (log_temperature**2 + log_weight**2)
    end = mean + draw.gauss(0, SEED_SD)
    epochs_needed = EPOCHS_NEEDED * 10 ** (-log_rate / 2)

    def value(epochs: float, draw: random.Random) -> float:
        return end - (end - START) * math.exp(-epochs / epochs_needed) + draw.gauss(0, EPOCH_SD)

    curve = {epoch: value(epoch, draw) for epoch in range(1, num_epochs + 1)}
    in_steps = {
        report: value(report / num_reports, draw_within) if report % num_reports else curve[report // num_reports]
        for report in range(1, num_epochs * num_reports + 1)
    }
    return Run(curve, in_steps, mean)


def asked(pruner: optuna.pruners.BasePruner, runs: list[Run]) -> Found:
    """With a pruner of Optuna: a stopped trial is lost."""
    study = optuna.create_study(direction="maximize", pruner=pruner, sampler=optuna.samplers.RandomSampler())
    complete, num_epochs = [], 0
    for run in runs:
        trial, last = study.ask(), max(run.curve)
        for epoch, value in run.curve.items():
            trial.report(value, epoch)
            num_epochs += 1
            if epoch < last and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            complete.append(run)
            study.tell(trial, run.end)
    return Found(max(complete, key=lambda run: run.end), num_epochs)


def promoted(rungs: Rungs, runs: list[Run], *, num_reports: int = 1) -> Found:
    """With promotion: a stopped trial is paused. When all have begun, the most promising one comes to its end.

    num_reports: per epoch.
    """
    curves = [run.curve if num_reports == 1 else run.curve_in_steps for run in runs]
    seen: dict[int, dict[int, float]] = {}
    ended: list[int] = []
    while True:
        paused = [number for number in seen if number not in ended]
        number = rungs.next_promoted(seen, paused)
        if number is None and len(seen) < len(runs):
            number = len(seen)
        if number is None and not ended:
            number = rungs.ranked(seen, paused)[0]
        if number is None:
            best = max(ended, key=lambda number: runs[number].end)
            return Found(runs[best], sum(map(len, seen.values())) / num_reports)
        if train(rungs, seen, number, curves[number]):
            ended.append(number)


def train(rungs: Rungs, seen: dict[int, dict[int, float]], number: int, curve: Curve) -> bool:
    """Train until the trial pauses. Returns whether it came to its end instead."""
    own, last = seen.setdefault(number, {}), max(curve)
    for report in range(max(own, default=0) + 1, last + 1):
        own[report] = curve[report]
        if report < last and rungs.is_at_rung(own) and not rungs.continues(seen, number):
            return False
    return True


def searches(num_epochs: int, num_reports: int) -> dict[str, Callable[[list[Run]], Found]]:
    pruners = optuna.pruners
    hyperband = {"min_resource": 1, "max_resource": num_epochs, "reduction_factor": 3}

    def in_steps(rungs: Rungs) -> Callable[[list[Run]], Found]:
        return lambda runs: promoted(rungs, runs, num_reports=num_reports)

    return {
        "no pruning": lambda runs: asked(pruners.NopPruner(), runs),
        "median": lambda runs: asked(pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2), runs),
        "hyperband": lambda runs: asked(pruners.HyperbandPruner(**hyperband), runs),
        "successive halving": lambda runs: asked(pruners.SuccessiveHalvingPruner(min_resource=1), runs),
        "promotion": lambda runs: promoted(Rungs(1, 3), runs),
        "promotion, factor 2": lambda runs: promoted(Rungs(1, 2), runs),
        "promotion, from epoch 2": lambda runs: promoted(Rungs(2, 3), runs),
        "promotion, progressive": lambda runs: promoted(Rungs(1, 3, progressive=True), runs),
        "in steps": in_steps(Rungs(1, 3)),
        "in steps, factor 2": in_steps(Rungs(1, 2)),
        "in steps, from report 2": in_steps(Rungs(2, 3)),
        "in steps, progressive": in_steps(Rungs(1, 3, progressive=True)),
    }


def compare(num_epochs: int, num_reports: int, num_trials: int, num_seeds: int) -> None:
    studies = []
    for seed in range(num_seeds):
        draw, within = random.Random(seed), random.Random(f"within epochs {seed}")
        studies.append([simulated(draw, num_epochs, num_reports, within) for _ in range(num_trials)])
    whole = [max(runs, key=lambda run: run.end) for runs in studies]
    size = f"{num_seeds} studies of {num_trials} trials of {num_epochs} epochs"
    print(f"{size}; in steps: {num_reports} reports per epoch")
    print("pruner                     epochs   behind in value    in true mean")
    for name, search in searches(num_epochs, num_reports).items():
        found = [search(runs) for runs in studies]
        share = statistics.mean(each.num_epochs for each in found) / (num_trials * num_epochs)
        pairs = list(zip(whole, (each.run for each in found), strict=True))
        value = [(best.end - own.end) / SEED_SD for best, own in pairs]
        mean = [(best.true_mean - own.true_mean) / SEED_SD for best, own in pairs]
        print(f"{name:24} {share:8.1%}   {told(value):16}   {told(mean)}")


def told(behind: list[float]) -> str:
    near = sum(each <= 1 for each in behind)
    return f"{statistics.mean(behind):5.2f}, {near} of {len(behind)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, nargs="+", default=[9, 27])
    parser.add_argument("--reports", type=int, default=3, help="of each epoch, on the lines in steps")
    parser.add_argument("--trials", type=int, default=27)
    parser.add_argument("--seeds", type=int, default=5)
    chosen = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for num_epochs in chosen.epochs:
        compare(num_epochs, chosen.reports, chosen.trials, chosen.seeds)


if __name__ == "__main__":
    main()

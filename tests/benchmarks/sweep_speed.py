"""What a sweep costs beside its trials, and what pruning saves.

    python tests/benchmarks/sweep_speed.py [start overhead slots pruning]
    python tests/benchmarks/sweep_speed.py many [--trials 5000] [--folder FOLDER]

start: from a free slot to the first training step, of the smoke study's trials. overhead: a sweep of 20 trials that
sleep 10 times for 1 s, with a call to MLflow after each, and without. slots: trials of 6, 1, 1 and 1 s in two slots.
pruning: the same 16 points of temperature, lambda and learning rate on sample data with and without successive halving,
for five seeds. many: a sweep of very short recorded trials: CPU seconds and memory of the command per 500 of them, then
the first page of MLflow's UI; with --folder, which stays, a call with more trials continues.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import optuna
import psutil
from mlflow import MlflowClient
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial
from recording import PORT, openings

ROOT = Path(__file__).parents[2]
APP = ROOT / "tests/optuna_sweep/app"
TRAIN = [sys.executable, "-m", "src.train"]
SLEEPER = [
    sys.executable,
    str(APP / "app.py"),
    "-m",
    "hydra/launcher=local",
    "hydra.launcher.preload=[optuna,mlflow.store.tracking.sqlalchemy_store,alembic.command]",
    "hydra.sweeper.study_name=study",
    "tracking=sqlite:///mlflow.db",
    "epoch_seconds=1",
]
TWO_SLOTS = ["hydra.launcher.num_slots=2", "x=1,2,3,4", "long_x=1", "long_seconds=5", "epochs=1"]
SMOKE = ["--config-dir", str(ROOT / "sweeps"), "--config-name", "smoke", "hydra.sweeper.study_name=study"]
PRUNED = [
    "data.source.train_size=512",
    "data.source.valid_size=256",
    "model.encoder.hidden_size=64",
    "trainer.epochs=9",
    "trainer.held_out_each_epoch=false",
    "pictures.sample_size=64",
    "tracking=none",
    "optimizer.lr=tag(log,interval(1e-4,1e-2))",
    "optimizer.head_lr=${optimizer.lr}",
    "hydra.sweeper.n_trials=16",
    "hydra/sweeper/sampler=random",
]
SEEDS = range(5)
MANY = ["x=interval(0.0,1.0)", "y=interval(0.0,1.0)", "hydra/sweeper/sampler=random", "epoch_seconds=0", "epochs=1"]
TRIALS, LOOK_EVERY = 5000, 500


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT / "src", ROOT, APP)))}


def run(folder: Path, command: list[str]) -> float:
    """Seconds of the whole command."""
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - started


def trials(folder: Path) -> list[FrozenTrial]:
    storage = JournalStorage(JournalFileBackend(str(folder / "optuna.journal")))
    return optuna.load_study(study_name="study", storage=storage).trials


def span(trial: FrozenTrial) -> tuple[float, float]:
    assert trial.datetime_start is not None
    assert trial.datetime_complete is not None
    return trial.datetime_start.timestamp(), trial.datetime_complete.timestamp()


def first_steps(folder: Path) -> dict[int, float]:
    """By trial, when the metrics before training were recorded: the first training step comes next."""
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    children = {int(run.data.tags["sweep.trial"]): run.info.run_id for run in runs if "sweep.trial" in run.data.tags}
    return {
        number: next(m.timestamp for m in client.get_metric_history(run, "val/macro_f1") if m.step == 0) / 1000
        for number, run in children.items()
    }


def start(folder: Path) -> None:
    run(folder, [*TRAIN, *SMOKE, "hydra.sweeper.n_trials=12", "hydra/sweeper/pruner=none"])
    steps, spans = first_steps(folder), [span(trial) for trial in trials(folder)]
    free = [end for _, end in spans[:-1]]
    to_trial = statistics.median(begin - end for end, (begin, _) in zip(free, spans[1:], strict=True))
    to_step = statistics.median(steps[number + 1] - end for number, end in enumerate(free))
    print(f"start: {to_trial:.3f} s from a free slot to the next trial, {to_step:.3f} s to its first training step")


def overhead(folder: Path) -> None:
    num_trials, epochs = 20, 10
    values = ",".join(map(str, range(num_trials)))
    slept = num_trials * epochs
    for form, options in (("recorded", []), ("without a record", ["tracking=null"])):
        place = folder / form
        place.mkdir()
        whole = run(place, [*SLEEPER, f"x={values}", f"epochs={epochs}", *options])
        spans = [span(trial) for trial in trials(place)]
        trials_only = spans[-1][1] - spans[0][0]
        print(
            f"overhead, {form}: {num_trials} trials that sleep {epochs} s each take {trials_only:.1f} s "
            f"({trials_only / slept - 1:+.1%}); {whole:.1f} s ({whole / slept - 1:+.1%}) as a whole",
            flush=True,
        )


def slots(folder: Path) -> None:
    run(folder, [*SLEEPER, *TWO_SLOTS])
    spans = [span(trial) for trial in trials(folder)]
    seconds = max(end for _, end in spans) - min(begin for begin, _ in spans)
    print(f"slots: trials of 6, 1, 1 and 1 s in two slots take {seconds:.2f} s")


def epochs_and_best(folder: Path) -> tuple[int, float, int]:
    done = trials(folder)
    complete = [trial for trial in done if trial.value is not None and trial.state.name == "COMPLETE"]
    best = max(complete, key=lambda trial: trial.value or 0.0)
    return sum(len(trial.intermediate_values) for trial in done), best.value or 0.0, best.number


def pruning(folder: Path) -> None:
    for seed in SEEDS:
        found = {}
        for pruner in ("none", "successive_halving"):
            place = folder / f"{seed}-{pruner}"
            place.mkdir()
            options = [*SMOKE, *PRUNED, f"hydra.sweeper.sampler.seed={seed}", f"seed={seed}"]
            options += [f"data.cache_dir={folder}/cache", f"hydra/sweeper/pruner={pruner}"]
            run(place, [*TRAIN, *options])
            found[pruner] = epochs_and_best(place)
        (all_epochs, whole, first), (epochs, value, second) = found["none"], found["successive_halving"]
        same = "the same best" if first == second else f"trial {second} instead of {first}"
        print(
            f"pruning, seed {seed}: {same}, {value:.4f} against {whole:.4f}, with {epochs / all_epochs:.0%} of "
            f"{all_epochs} epochs",
            flush=True,
        )


def num_started(folder: Path) -> int:
    log = folder / "started.log"  # a line per trial, of the app
    return log.read_bytes().count(b"\n") if log.exists() else 0


def many(folder: Path, num_trials: int) -> None:
    options = [*MANY, f"hydra.sweeper.n_trials={num_trials}", f"hydra.sweeper.mlflow_ui=http://127.0.0.1:{PORT}"]
    output, before, look = folder / "output.txt", num_started(folder), time.perf_counter()
    with output.open("w") as file:
        command = subprocess.Popen([*SLEEPER, *options], cwd=folder, env=environment(), stdout=file, stderr=file)
    process, cpu, started = psutil.Process(command.pid), 0.0, before
    while command.poll() is None:
        time.sleep(0.5)
        with suppress(psutil.NoSuchProcess):
            used, memory, count = process.cpu_times(), process.memory_full_info().uss, num_started(folder)
            if count >= started + LOOK_EVERY or (count >= num_trials > started):
                own, now, each = used.user + used.system, time.perf_counter(), count - started
                seconds = f"{(now - look) / each:.3f} s per trial, {(own - cpu) / each:.3f} CPU s of the command"
                print(f"many: to trial {count}: {seconds}, {memory / 2**20:.0f} MiB", flush=True)
                cpu, look, started = own, now, count
    out = output.read_text()
    if command.returncode:
        raise RuntimeError(out)
    print(f"many: {time.perf_counter() - look:.1f} s from the last trial's start to the end of the command", flush=True)
    address = re.search(r"Comparison: (\S+)", out)
    assert address is not None, out
    first, second = openings(folder, address.group(1))
    print(f"many: MLflow's UI shows its charts in {first:.1f} s, in {second:.1f} s the second time")


MEASURES = {measure.__name__: measure for measure in (start, overhead, slots, pruning)}


def folders(names: list[str]) -> Iterator[tuple[str, Path]]:
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            yield name, Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = f"{' '.join(MEASURES)}, and many, which takes an hour"
    parser.add_argument("measures", nargs="*", default=list(MEASURES), help=known)
    parser.add_argument("--trials", type=int, default=TRIALS, help="of many")
    parser.add_argument("--folder", type=Path, help="of many")
    arguments = parser.parse_args()
    for name, folder in folders(arguments.measures):
        if name == "many":
            many(arguments.folder or folder, arguments.trials)
        else:
            MEASURES[name](folder)


if __name__ == "__main__":
    main()

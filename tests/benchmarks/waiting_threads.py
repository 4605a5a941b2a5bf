"""Seconds per epoch of one training run, and of two at once, on the same two cores, for three ways to wait in OpenMP.

    python tests/benchmarks/waiting_threads.py [--responses 600] [--epochs 4]

ACTIVE: a thread that waits for the others spins, and keeps its core from the other run. PASSIVE: it sleeps. BOUNDED,
which the command sets unless the user sets another: it spins for some 20 µs, then sleeps. A fair share for two runs at
once is twice the time of one. The median over the epochs after the first is printed for each run. The default model on
the sample data, without MLflow; Linux only.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
POLICIES = {
    "ACTIVE": {"OMP_WAIT_POLICY": "ACTIVE"},
    "PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"},
    "BOUNDED": {},
}
NUM_CORES = 2
UNSET = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
# only training is measured
SMALL = [
    "trainer.held_out_each_epoch=false",
    *(f"data.source.{split}_size=48" for split in ("valid", "test", "test_ood")),
]


class Run(NamedTuple):
    process: subprocess.Popen[str]
    output: Path


def start(folder: Path, name: str, policy: str, options: list[str]) -> Run:
    """Start a run in `folder`, with as many threads as there are cores: OMP_NUM_THREADS is not passed on."""
    return start_with(folder, name, POLICIES[policy], [], options)


def start_with(folder: Path, name: str, own: dict[str, str], launcher: list[str], options: list[str]) -> Run:
    """Start `python LAUNCHER -m src.train OPTIONS` in `folder` with the environment `own` beside what is passed on."""
    own = own | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT / "src", ROOT)))}
    environment = {key: value for key, value in os.environ.items() if key not in UNSET} | own
    command = [sys.executable, *launcher, "-m", "src.train", "tracking=none", f"hydra.run.dir={name}", *options]
    process = subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return Run(process, folder / name)


def seconds_per_epoch(run: Run) -> float:
    """Wait for the run. Returns the median over its epochs after the first."""
    out, _ = run.process.communicate()
    if run.process.returncode:
        raise RuntimeError(out)
    table = pq.read_table(run.output / "metrics.parquet", columns=["name", "epoch", "value"]).to_pylist()
    return statistics.median(row["value"] for row in table if row["name"] == "train/epoch_seconds" and row["epoch"] > 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--responses", type=int, default=600, help="in the training split")
    parser.add_argument("--epochs", type=int, default=4, help="of each run, at least 2")
    arguments = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("a process can be kept on two cores only on Linux")
    cores = sorted(os.sched_getaffinity(0))[:NUM_CORES]
    os.sched_setaffinity(0, cores)  # the runs inherit it
    options = [*SMALL, f"data.source.train_size={arguments.responses}", f"trainer.epochs={arguments.epochs}"]
    print(f"seconds per epoch, {arguments.responses} responses, {len(cores)} cores")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds_per_epoch(start(folder, "warm_up", "PASSIVE", [*options, "trainer.epochs=2"]))  # fills the data cache
        for policy in POLICIES:
            for num_runs, label in ((1, "one run"), (2, "two at once")):
                runs = [start(folder, f"{policy}_{num_runs}_{index}", policy, options) for index in range(num_runs)]
                print(
                    f"{policy:7}  {label:11}  {'  '.join(f'{seconds_per_epoch(run):.2f}' for run in runs)}", flush=True
                )


if __name__ == "__main__":
    main()

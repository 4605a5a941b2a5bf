"""How well two CPU cores are used: by the threads of one run, by two runs at once, and by two processes of one run.

    python tests/benchmarks/scaling.py [--responses 600] [--epochs 4] [model.encoder.hidden_size=384 ...]

Efficiency: responses per second, over those of one run with one thread times the number of cores. Two processes of one
run share each batch and exchange gradients by gloo. The median over the epochs after the first counts. The default
model on the sample data, without MLflow; on an idle machine.
"""

import argparse
import tempfile
from pathlib import Path

from waiting_threads import SMALL, seconds_per_epoch, start_with

NUM_PROCESSES = 2
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={NUM_PROCESSES}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--responses", type=int, default=600, help="in the training split")
    parser.add_argument("--epochs", type=int, default=4, help="of each run, at least 2")
    parser.add_argument("overrides", nargs="*", help="of the configuration")
    arguments = parser.parse_args()
    options = [f"data.source.train_size={arguments.responses}", f"trainer.epochs={arguments.epochs}"]
    options = [*SMALL, *options, *arguments.overrides]
    forms: dict[str, tuple[int, int, list[str]]] = {  # number of runs, threads of each process, launcher
        "one run, one thread": (1, 1, []),
        f"one run, {NUM_PROCESSES} threads": (1, NUM_PROCESSES, []),
        f"{NUM_PROCESSES} runs at once, one thread each": (NUM_PROCESSES, 1, []),
        f"one run, {NUM_PROCESSES} processes (gloo)": (1, 1, TORCHRUN),
    }
    print(f"{'':32} {'responses/s':>11} {'efficiency':>10}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        warm_up = start_with(folder, "warm_up", {"OMP_NUM_THREADS": "1"}, [], [*options, "trainer.epochs=2"])
        seconds_per_epoch(warm_up)  # fills the data cache
        single = 0.0
        for index, (form, (num_runs, threads, launcher)) in enumerate(forms.items()):
            own = {"OMP_NUM_THREADS": str(threads)}
            runs = [start_with(folder, f"form_{index}_run_{run}", own, launcher, options) for run in range(num_runs)]
            rate = sum(arguments.responses / seconds_per_epoch(run) for run in runs)
            single = single or rate
            cores = 1 if index == 0 else NUM_PROCESSES
            print(f"{form:32} {rate:11.1f} {rate / single / cores:10.0%}", flush=True)


if __name__ == "__main__":
    main()

"""What the record costs a run, and how soon a sweep of 100 children is seen.

    python tests/benchmarks/recording.py [--runs 2] [--children 100]

cost: the default run on the sample data with and without MLflow, in turn; the CPU time is what a busy machine leaves
as it is. view: from the address of the ready-made view to all of its charts in a headless Chromium, second opening.
"""

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.chromium import CHROMIUM, Page  # noqa: E402

APP = ROOT / "tests/optuna_sweep/app"
PORT = 5093
SWEEP = [
    *("hydra/launcher=local", "hydra.launcher.num_slots=2", "hydra.sweeper.study_name=study", "epochs=3"),
    "hydra.launcher.preload=[optuna,mlflow.store.tracking.sqlalchemy_store,alembic.command]",
    *("tracking=sqlite:///mlflow.db", "x=interval(0.0,1.0)", "y=interval(0.0,1.0)", "hydra/sweeper/sampler=random"),
    f"hydra.sweeper.mlflow_ui=http://127.0.0.1:{PORT}",
]


def seconds_of(folder: Path, command: list[str]) -> tuple[float, float, str]:
    """Wall and CPU seconds of a command, and what it printed."""
    paths = os.pathsep.join(map(str, (ROOT / "src", ROOT, APP)))
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = os.environ | {"PYTHONPATH": paths}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout + done.stderr


def cost(folder: Path, num_runs: int) -> None:
    train, spent = [sys.executable, "-m", "src.train"], {"none": [], "mlflow": []}
    seconds_of(folder, [*train, "tracking=none", "trainer.epochs=1"])  # trains the tokenizer, fills the caches
    for _ in range(num_runs):
        for tracking, times in spent.items():
            times.append(seconds_of(folder, [*train, f"tracking={tracking}"])[:2])
    without, recorded = ([statistics.median(column) for column in zip(*times, strict=True)] for times in spent.values())
    print(
        f"cost: {without[0]:.1f} s without a record, {recorded[0]:.1f} s with ({recorded[0] / without[0] - 1:+.1%}); "
        f"CPU {without[1]:.1f} and {recorded[1]:.1f} s ({recorded[1] / without[1] - 1:+.1%})"
    )


def view(folder: Path, num_children: int) -> None:
    app = [sys.executable, str(APP / "app.py"), "-m", *SWEEP, f"hydra.sweeper.n_trials={num_children}"]
    wall, _, out = seconds_of(folder, app)
    address = re.search(r"Comparison: (\S+)", out)
    assert address is not None, out
    print(f"view: {num_children} recorded trials in {wall:.1f} s")
    for opening, seconds in zip(("first", "second"), openings(folder, address.group(1)), strict=True):
        print(f"view: {seconds:.1f} s to its charts, {opening} opening")


def openings(folder: Path, address: str) -> list[float]:
    """Seconds from the address of a view to all of its charts, at its first and its second opening."""
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", "sqlite:///mlflow.db", "--port", str(PORT)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    page = Page(folder / "profile")
    try:
        while not is_up():
            time.sleep(0.5)
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            page.open(address)
            page.text_with("matching runs", "Parallel Coordinates", "Curves", seconds=120)
            seconds.append(time.perf_counter() - started)
        return seconds
    finally:
        page.close()
        server.terminate()
        server.wait()


def is_up() -> bool:
    try:
        return bool(urlopen(f"http://127.0.0.1:{PORT}/health", timeout=2).status == 200)
    except OSError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--children", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cost(Path(folder), arguments.runs)
    if CHROMIUM is None:
        print("view: needs Chromium")
        return
    with tempfile.TemporaryDirectory() as folder:
        view(Path(folder), arguments.children)


if __name__ == "__main__":
    main()

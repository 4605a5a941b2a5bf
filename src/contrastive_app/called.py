"""The command's side of a call from Python (python.py): runs the command, then leaves what became of it in a file."""

import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contrastive_app.places import CHECKOUT
from contrastive_app.start import main as run_command


def main() -> None:
    """Called with the file for the answer, then the command's arguments."""
    program = "contrastive-train" if CHECKOUT is None else str(CHECKOUT / "src" / "train.py")
    file, sys.argv = Path(sys.argv[1]), [program, *sys.argv[2:]]  # what a person repeats after an interruption
    threading.Thread(target=_end_with_caller, daemon=True).start()
    try:
        run_command()
        answer = _of_sweep() if sys.argv[1:2] == ["-m"] else _of_run()
    except SystemExit as end:
        if not isinstance(end.code, str):
            raise
        answer = {"error": end.code.removeprefix("error: ")}
        if sys.argv[1:2] == ["-m"] and "objective" in (found := _of_sweep()):  # only some of its trials failed
            print(end.code, file=sys.stderr)
            answer = found
    except Exception as error:
        file.write_text(json.dumps({"crash": f"{type(error).__name__}: {error}"}), encoding="utf-8")
        raise
    file.write_text(json.dumps(answer, default=str), encoding="utf-8")


def _of_run() -> dict[str, Any]:
    from contrastive_app.train import latest_run

    run = latest_run()
    if run is None:
        return {"error": "nothing was trained: the overrides ask for something else"}
    return {
        "objective": run.objective,
        "address": run.location,
        "folder": str(run.output),
        "run_id": run.run_id,
        "model": run.model,
    }


def _of_sweep() -> dict[str, Any]:
    from optuna_sweep.run.sweep import latest_sweep

    ended = latest_sweep()
    if ended is None or ended.outcome.best is None:
        return {"error": "no trial was run: hydra.sweeper.dry_run=true only prints the plan"}
    best = ended.outcome.best
    return {
        "objective": _plain(best.values),
        "params": dict(best.params),
        "address": ended.places.get("Comparison"),
        "folder": str(ended.outcome.sweep_dir),
        "run_id": ended.parent_run_id,
        "failed": ended.failed,
    }


def _plain(values: Sequence[float]) -> float | list[float]:
    return values[0] if len(values) == 1 else list(values)


def _end_with_caller() -> None:
    """Wait until the caller's end of stdin is closed: by the caller when this process has ended, or by its own end."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)

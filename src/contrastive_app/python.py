"""The command as functions, for notebooks and scripts: `train` one judge, `sweep` a study, `load` what they recorded.

`scorers` makes a judge one of those that `mlflow.genai.evaluate` asks.
Each call of the first two is the command itself in a process of its own. So it gives what the command gives, and it
leaves this process as it was: working directory, environment, signal handlers, logging, Hydra, random state, memory of
the GPU.

>>> from contrastive_app.python import sweep, train
>>> run = train(["loss=supcon", "trainer.epochs=2"])  # doctest: +SKIP
>>> run.objective, run.address, run.folder  # doctest: +SKIP
(0.80, 'run 31595c97 of experiment contrastive-quality in sqlite:////home/you/mlflow.db', PosixPath('…'))
>>> sweep("temperature_lambda", ["hydra.sweeper.n_trials=10"]).params  # doctest: +SKIP
{'loss.temperature': 0.083, 'loss.lambda_contrastive': 0.21}
>>> load(run.folder)(["바람이 불어 시원해요."])  # doctest: +SKIP
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.genai.scorers import Scorer

    from contrastive_learning.serving import SavedJudge

COMMAND = "from contrastive_app.called import main; main()"
FOR_THIS_PROCESS = ("MPLBACKEND", "FORCE_COLOR", "CLICOLOR_FORCE")  # of a notebook's kernel: how it shows things itself


@dataclass(frozen=True)
class TrainedRun:
    """What `train` returns."""

    objective: float | tuple[float, ...]  # objective.metric at the best epoch; one for each metric if there are several
    address: str  # of the record, as the command prints it
    folder: Path  # output folder
    run_id: str | None  # in MLflow; None with tracking=none
    model: str | None  # address of the recorded judge, for mlflow.pyfunc.load_model; None if none was recorded


@dataclass(frozen=True)
class FinishedSweep:
    """What `sweep` returns."""

    objective: float | tuple[float, ...]  # of the trial that the sweep settles on
    params: Mapping[str, Any]  # of that trial: option -> value
    address: str | None  # of the comparison in the MLflow UI; None with tracking=none
    folder: Path  # with trials.csv, best_config.yaml and report.html
    run_id: str | None  # of the parent run in MLflow; None with tracking=none
    failed: Mapping[int, str]  # number -> reason of each trial that failed and was not repeated well


def train(overrides: Sequence[str] = ()) -> TrainedRun:
    """Train one judge: what the command does with the same overrides.

    overrides: as on the command line, without the shell's quotes: ["data=votes", "data.path=judged.jsonl"]. Relative
    paths mean the working directory. Prints what the command prints. Ctrl-C, or a notebook's stop button, ends the run
    as it ends the command's: closed as KILLED, and ready to be resumed with trainer.resume_from.

    Raises ValueError with the line that the command would print; RuntimeError if the process dies.
    """
    answer = _call(_checked(overrides))
    return TrainedRun(
        objective=_number_or_tuple(answer["objective"]),
        address=answer["address"],
        folder=Path(answer["folder"]),
        run_id=answer["run_id"],
        model=answer["model"],
    )


def sweep(study: str | None, overrides: Sequence[str] = ()) -> FinishedSweep:
    """Run a study to its end, or continue it: what the command does with `-m --config-name STUDY`.

    study: the name of a file in `sweeps`; None if the overrides say what to search ("loss.temperature=0.05,0.1").
    overrides, output, Ctrl-C and errors: as for `train`. Trials that failed raise nothing if others ended well.
    """
    named = [] if study is None else ["--config-name", study]
    answer = _call(["-m", *named, *_checked(overrides)])
    return FinishedSweep(
        objective=_number_or_tuple(answer["objective"]),
        params=answer["params"],
        address=answer["address"],
        folder=Path(answer["folder"]),
        run_id=answer["run_id"],
        failed={int(number): reason for number, reason in answer["failed"].items()},
    )


def load(model: str | Path | None = None, *, store: str | None = None) -> "SavedJudge":
    """A judge to call: load(run.folder)(["a response"]). Its `save(folder)` keeps it, and load(folder) gives it back.

    model: a folder, such as a run's, a run's id, or models:/name@alias; None: the best run of the latest sweep, else
    the latest run. store: of the record, its address or SQLite file; None: $MLFLOW_TRACKING_URI, else mlflow.db.

    Raises ValueError if there is no such judge.
    """
    return _loaded(model, store)[0]


def scorers(model: str | Path | None = None, *, store: str | None = None) -> "list[Scorer]":
    """A judge for `mlflow.genai.evaluate(data=…, scorers=scorers("models:/judge@champion"))`.

    model, store: as for `load`. Each response gets one Feedback per criterion: yes or no; probability and threshold in
    its metadata; the nearest judged responses as rationale, if the judge has neighbours. The metric <criterion>/mean is
    the share of yes. `inputs` and `outputs`, of data or traces, are read by contrastive_learning.data.traces.texts_of.

    Raises ValueError if there is no such judge. What cannot be read becomes an error of its row, as MLflow has it.
    """
    from contrastive_app.judge.scorer import scorer_of

    return [scorer_of(*_loaded(model, store))]


def _loaded(model: str | Path | None, store: str | None) -> "tuple[SavedJudge, str]":
    """The judge, and words that say which it is."""
    from contrastive_app.judge.models import find_judge
    from contrastive_learning.serving import SavedJudge

    scratch = Path(tempfile.mkdtemp(prefix="judge-"))  # of a download; a judge reads some files only when it is saved
    try:
        folder, which = find_judge(None if model is None else str(model), store, scratch)
        judge = SavedJudge(folder)
    except ValueError as error:
        shutil.rmtree(scratch)
        raise ValueError(re.sub("--(model|store)", r"\1", str(error))) from error  # a function has no flags
    except BaseException:
        shutil.rmtree(scratch)
        raise
    weakref.finalize(judge, shutil.rmtree, scratch)
    return judge, which


def _checked(overrides: Sequence[str]) -> list[str]:
    if isinstance(overrides, str):
        raise ValueError(f'overrides must be a list of texts such as ["seed=1"], got {overrides!r}')
    for override in overrides:
        if not isinstance(override, str) or override.startswith("-"):
            raise ValueError(f'each override must be a text such as "seed=1", got {override!r}')
    return list(overrides)


def _call(arguments: Sequence[str]) -> dict[str, Any]:
    """Run the command with these arguments to its end. Returns what it answers."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "answer.json")
        code = _run([str(file), *arguments])
        answer: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if "error" in answer:
        raise ValueError(answer["error"])
    if "objective" in answer:
        return answer
    if "crash" in answer:
        raise RuntimeError(answer["crash"])
    raise RuntimeError(f"the process of the command {_end_of(code)}")


def _run(arguments: Sequence[str]) -> int:
    """Print the command's output as it comes. Returns its exit code, negative if a signal killed it."""
    path = [path or str(Path.cwd()) for path in (str(Path(__file__).parents[1]), *sys.path)]
    environment = {name: value for name, value in os.environ.items() if name not in FOR_THIS_PROCESS}
    process = subprocess.Popen(
        [sys.executable, "-P", "-u", "-X", "utf8", "-c", COMMAND, *arguments],
        env=environment | {"PYTHONPATH": os.pathsep.join(path)},
        stdin=subprocess.PIPE,  # its end tells the command that nobody waits for it any more
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # Ctrl-C comes from here, once
    )
    try:
        try:
            return _printed_to_its_end(process)
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            _printed_to_its_end(process)
            raise
    finally:
        process.kill()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()
        process.wait()


def _printed_to_its_end(process: "subprocess.Popen[str]") -> int:
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
    return process.wait()


def _end_of(code: int) -> str:
    if code == -signal.SIGKILL:
        return "was killed by SIGKILL, as the system does when memory runs out"
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code} and no result"


def _number_or_tuple(objective: float | list[float]) -> float | tuple[float, ...]:
    return tuple(objective) if isinstance(objective, list) else objective

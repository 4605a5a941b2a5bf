"""The command called from Python: in a script, and in a notebook."""

import json
import signal
import textwrap
import time
from pathlib import Path

import nbclient
import nbformat
import pytest

from contrastive_app.places import CONF
from contrastive_app.python import sweep, train
from support.commands import IMPORTABLE, SMALL, provide_store, run, runs, start, wait_while_running
from support.sweeps import Sweeps

TINY = [*SMALL, "trainer.epochs=1", "trainer.precision=fp32", "tracking.system_metrics=false"]
STATE = """
import logging, os, signal, sys
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

def state():
    signals = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    loggers = list(logging.root.handlers), logging.root.level, sorted(logging.root.manager.loggerDict)
    hydra = GlobalHydra.instance().is_initialized(), HydraConfig.initialized()
    return signals, loggers, hydra, dict(os.environ), list(sys.argv), os.getcwd(), list(sys.path)
"""


def test_what_is_no_list_of_overrides_is_refused_before_anything_starts():
    with pytest.raises(ValueError, match=r'^overrides must be a list of texts such as \["seed=1"\], got \'seed=1\'$'):
        train("seed=1")
    with pytest.raises(ValueError, match=r'^each override must be a text such as "seed=1", got \'--multirun\'$'):
        sweep("smoke", ["seed=1", "--multirun"])


@pytest.mark.slow
def test_a_script_sweeps_and_is_left_as_it_was(tmp_path):
    """One of the two trials fails."""
    provide_store(tmp_path)
    rates = ["optimizer=sgd", "optimizer.lr=1e-3,1e30", "hydra.sweeper.study_name=rates", "hydra/launcher=basic"]
    rates += ["hydra.sweeper.report=null"]
    script = f"""
    import json
    from pathlib import Path
    from contrastive_app.python import sweep

    before = state()
    found = sweep(None, [*{TINY!r}, *{rates!r}])
    assert state() == before
    Path("found.json").write_text(json.dumps(vars(found), default=str))
    """
    (tmp_path / "script.py").write_text(STATE + textwrap.dedent(script), encoding="utf-8")
    done = run("script.py", cwd=tmp_path, check=True)
    found = json.loads((tmp_path / "found.json").read_text())

    assert list(found["failed"]) == ["1"]
    assert f"1 of 2 trials failed: 001 {found['failed']['1'][:100]}" in done.stdout
    assert done.stdout.count(" of 1, per criterion: mean F1") == 1  # of the trial that ended well
    trial = Sweeps(tmp_path).study("rates").best_trial
    assert (found["objective"], found["params"]) == (trial.value, trial.params)
    assert found["folder"] == str(tmp_path / "multirun/rates")
    (parent,) = (each for each in runs(tmp_path)[1] if each.data.tags.get("sweep.kind") == "parent")
    assert found["run_id"] == parent.info.run_id
    assert f"viewStateShareKey=sweep{found['run_id']}" in found["address"]


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_a_run_ends_with_the_script_that_called_it(signum, tmp_path):
    provide_store(tmp_path)
    endless = [*SMALL, "trainer.epochs=5000", "tracking.system_metrics=false", "hydra.run.dir=out"]
    (tmp_path / "script.py").write_text(f"from contrastive_app.python import train\ntrain({endless!r})\n")
    script = start("script.py", cwd=tmp_path)
    wait_while_running(script, lambda: "epoch 1/5000" in script.out())
    script.send_signal(signum)
    assert script.wait(60) != 0
    if signum == signal.SIGINT:
        assert "interrupted; to continue, repeat the command with trainer.resume_from=" in script.out()
        assert "KeyboardInterrupt" in script.errors()
    wait_until_killed(tmp_path)


def wait_until_killed(folder, seconds=60):
    end = time.monotonic() + seconds
    while runs(folder)[1][0].info.status != "KILLED":
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.slow
def test_a_notebook_trains_is_left_as_it_was_and_gets_errors_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", IMPORTABLE["PYTHONPATH"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    provide_store(tmp_path)
    both = ["objective.metric=[val/macro_f1,val/brier]", "objective.direction=[maximize,minimize]"]
    both += ["trainer.monitor=val/macro_f1", "trainer.direction=maximize"]
    cells = [
        f"{STATE}\nimport json\nfrom contrastive_app.python import train\nbefore = state()",
        f"run = train([*{TINY!r}, *{both!r}, 'seed=1'])\nassert state() == before",
        "print(json.dumps(vars(run), default=str))",
        "train(['loss=supco'])",
        "from hydra import compose, initialize_config_dir\n"
        "from contrastive_app.places import CONF\n"
        "from src.train import train as task\n"
        "with initialize_config_dir(str(CONF), version_base='1.3'):\n"
        "    config = compose('train')\n"
        "task(config)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", allow_errors=True, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    assert [error_of(cell) for cell in notebook.cells[:3]] == [None] * 3
    assert "epoch 1/1" in text_of(notebook.cells[1])
    assert "\x1b" not in text_of(notebook.cells[1])
    found = json.loads(text_of(notebook.cells[2]))
    (recorded,) = runs(tmp_path)[1]
    run_id, metrics = recorded.info.run_id, recorded.data.metrics
    assert found["objective"] == [metrics["final/val/macro_f1"], metrics["final/val/brier"]]
    assert (found["run_id"], recorded.data.params["seed"]) == (run_id, "1")
    assert found["address"] == f"run {run_id} of experiment contrastive-quality in sqlite:///{tmp_path}/mlflow.db"
    assert found["model"].startswith("models:/m-")
    assert (Path(found["folder"]) / "metrics.json").exists()
    choices = ", ".join(sorted(file.stem for file in (CONF / "loss").glob("*.yaml")))
    assert error_of(notebook.cells[3]) == ("ValueError", f"there is no loss=supco (did you mean supcon?): {choices}")
    assert error_of(notebook.cells[4]) == (
        "ValueError",
        "train(config) works in a command that Hydra runs; in a notebook or script call train(overrides) of "
        "contrastive_app.python",
    )


def error_of(cell):
    errors = [(output.ename, output.evalue) for output in cell.outputs if output.output_type == "error"]
    return errors[0] if errors else None


def text_of(cell):
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")

"""The wheel, built from this checkout and installed into an environment of its own, works from any folder."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from support.commands import ONE_THREAD, ROOT, SMALL

pytestmark = pytest.mark.slow

# folders of installed packages, of which the new environment sees the files, but not the checkout that .pth files add
SHARED = [entry for entry in sys.path if entry and any(Path(entry).glob("*.dist-info"))]
PACKAGES = [path.parent.name for path in (ROOT / "src").glob("*/__init__.py")]


class Environment:
    """An environment in which the wheel is installed, next to the packages of the test environment."""

    def __init__(self, folder):
        self.bin = folder / "venv" / "bin"
        venv.create(folder / "venv", with_pip=True)
        build = ["wheel", "--no-build-isolation", "--wheel-dir", str(folder / "wheels"), str(ROOT)]
        self._pip(*build, PYTHONPATH=os.pathsep.join(SHARED))
        (self.wheel,) = (folder / "wheels").iterdir()
        self._pip("install", str(self.wheel))
        (site,) = folder.glob("venv/lib/*/site-packages")
        (site / "shared.pth").write_text("\n".join(SHARED))

    def _pip(self, command, *arguments, **environment):
        pip = [self.bin / "python", "-m", "pip", command, "--quiet", "--no-deps", "--no-index", *arguments]
        subprocess.run(pip, env=os.environ | environment, check=True, timeout=300)

    def run(self, folder, command, *arguments, code=0):
        """What the command prints, on both streams."""
        plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [self.bin / command, *arguments],
            cwd=folder,
            env=plain | {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert done.returncode == code, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def swept(installed, tmp_path_factory):
    """A folder in somebody's own git repository, in which a study was started by its name only."""
    folder = tmp_path_factory.mktemp("empty")
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    small = [*SMALL, ONE_THREAD, "trainer.epochs=1", "hydra.sweeper.n_trials=1", "tracking.register=judge"]
    told = installed.run(folder, "contrastive-train", "--config-name", "smoke", *small)
    assert "INFO mlflow" not in told  # it made its store
    return folder


def test_the_wheel_brings_the_packages_and_their_configuration_and_nothing_named_src(installed):
    with zipfile.ZipFile(installed.wheel) as wheel:
        names = wheel.namelist()
    top_level = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert top_level == {*PACKAGES, "hydra_plugins"}
    for folder in ("conf", "sweeps"):
        files = [str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.yaml")]
        assert {f"contrastive_app/{file}" for file in files} <= set(names)
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_everything_is_imported_from_the_wheel(installed, tmp_path):
    code = f"""
import json
from importlib.util import find_spec
specs = [find_spec(name) for name in {[*PACKAGES, "contrastive_app.conf", "contrastive_app.sweeps"]}]
paths = [path for spec in specs for path in spec.submodule_search_locations]
print(json.dumps([paths, find_spec("src") is None]))
"""
    paths, no_src = json.loads(installed.run(tmp_path, "python", "-c", code))
    assert all(Path(path).is_relative_to(installed.bin.parent) for path in paths)
    assert no_src


def test_the_commands_explain_themselves(installed, tmp_path):
    told = installed.run(tmp_path, "contrastive-train", "--help")
    assert told.startswith("usage: contrastive-train ")
    assert "\n  smoke                Every part of a sweep in under a minute, offline: four short trials" in told
    assert installed.run(tmp_path, "contrastive-sync", "--version").startswith("contrastive-quality ")
    for name in ("contrastive-judge", "contrastive-sync", "contrastive-ui"):
        assert installed.run(tmp_path, name, "--help").startswith(f"usage: {name} ")


def test_a_study_runs_by_its_name(swept):
    client = MlflowClient(tracking_uri=f"sqlite:///{swept}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("contrastive-quality").experiment_id])
    parent, *children = sorted(runs, key=lambda run: "mlflow.parentRunId" in run.data.tags)
    assert [run.data.tags["sweep.state"] for run in children] == ["COMPLETE"]
    assert "contrastive-train --config-name smoke " in parent.data.tags["mlflow.note.content"]
    assert not [tag for run in runs for tag in run.data.tags if tag.startswith("git.")]
    assert (swept / "multirun/smoke/report.html").exists()
    for config in swept.glob("multirun/smoke/*/.hydra/config.yaml"):
        assert "site-packages" not in config.read_text()


def test_the_best_judge_of_a_study_can_be_loaded(swept):
    mlflow.set_tracking_uri(f"sqlite:///{swept}/mlflow.db")
    try:
        judge = mlflow.pyfunc.load_model("models:/judge@champion")
    finally:
        mlflow.set_tracking_uri(None)
    judged = judge.predict([{"context": ["어디로 갈까?"], "response": "바다요."}])
    assert "probability/sensibleness" in judged.columns

"""Relative paths mean the folder of the command, whatever folder a run works in."""

import json
from pathlib import Path
from shutil import rmtree

import pytest
from omegaconf import OmegaConf

from contrastive_app.paths import absolute, from_start
from support.commands import ONE_THREAD, TRAIN, provide_store, run, runs, train
from support.sweeps import Sweeps

START = Path("/home/you")
TINY = (
    "data=votes",
    "data.path=judged/all.jsonl",
    "data.cache_dir=tokens",
    "data.max_length=32",
    "model.encoder.hidden_size=32",
    "model.encoder.num_layers=1",
    "model.encoder.vocab_size=400",
    "trainer.steadiness=never",
    "trainer.epochs=1",
    "trainer.precision=fp32",
    "tracking.system_metrics=false",
    "hydra.job.chdir=true",
)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("data.path", "judged.jsonl", "/home/you/judged.jsonl"),
        ("data.path", "/data/judged.jsonl", "/data/judged.jsonl"),
        ("data.path", "~/judged.jsonl", str(Path.home() / "judged.jsonl")),
        ("data.cache_dir", ".cache/tokenized", "/home/you/.cache/tokenized"),
        ("data.source.path", "../judged", "/home/you/../judged"),
        ("data.source.test_ood_path", "ood.csv", "/home/you/ood.csv"),
        ("data.source.test_path", None, None),
        ("trainer.resume_from", "outputs/a", "/home/you/outputs/a"),
        ("trainer.device", "cpu", "cpu"),
        ("tracking.uri", "sqlite:///mlflow.db", "sqlite:////home/you/mlflow.db"),
        ("tracking.uri", "sqlite:////srv/mlflow.db", "sqlite:////srv/mlflow.db"),
        ("tracking.uri", "http://host:5000", "http://host:5000"),
        ("model.encoder.name", "klue/roberta-base", "klue/roberta-base"),
        ("data.max_length", 128, 128),
    ],
)
def test_only_relative_paths_are_put_behind_the_folder_of_the_command(option, value, expected):
    assert absolute(option, value, START) == expected


def test_an_encoder_is_a_folder_if_there_is_one(tmp_path):
    (tmp_path / "klue" / "roberta-base").mkdir(parents=True)
    for option in ("model.name", "model.encoder.name"):
        assert absolute(option, "klue/roberta-base", tmp_path) == str(tmp_path / "klue/roberta-base")


def test_a_configuration_is_changed_only_in_a_run_that_works_elsewhere(tmp_path, monkeypatch):
    source = {"path": "${..path}", "test_path": None}
    given = OmegaConf.create({"data": {"path": "a.jsonl", "source": source}, "tracking": {"uri": "sqlite:///m.db"}})
    monkeypatch.chdir(tmp_path)
    assert from_start(given, tmp_path) is given
    elsewhere = tmp_path / "outputs"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    file = str(tmp_path / "a.jsonl")
    assert from_start(given, tmp_path) == {
        "data": {"path": file, "source": {"path": file, "test_path": None}},
        "tracking": {"uri": f"sqlite:///{tmp_path}/m.db"},
    }
    assert given.data.path == "a.jsonl"


@pytest.fixture
def folder(tmp_path):
    """With a small file of judged responses, whose votes can be read off the words."""
    rows = [
        {
            "id": str(number),
            "context": [f"질문 {number}"],
            "response": f"{'좋은' if number % 2 else '나쁜'} 답 {number}",
            "votes": {"consistency": [number % 2] * 3, "specificity": [number % 3 > 0, 1, 0]},
        }
        for number in range(90)
    ]
    (tmp_path / "judged").mkdir()
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (tmp_path / "judged" / "all.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def stores(folder):
    return sorted(str(file.relative_to(folder)) for pattern in ("*.db", "*.journal") for file in folder.rglob(pattern))


@pytest.mark.slow
def test_a_run_in_its_output_folder_uses_the_stores_and_data_of_the_commands_folder(folder):
    train(folder, *TINY, "hydra.job.chdir=false", "hydra.run.dir=out", "trainer.keep_checkpoints=true")
    _, (recorded,) = runs(folder)
    rmtree(folder / "tokens")
    train(folder, *TINY, "trainer.resume_from=out", "trainer.epochs=2", "hydra.run.dir=again")
    _, (resumed,) = runs(folder)
    assert resumed.info.run_id == recorded.info.run_id
    assert resumed.info.status == "FINISHED"
    assert stores(folder) == ["mlflow.db"]
    assert (folder / "tokens").is_dir()
    assert not (folder / "again" / "tokens").exists()


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [("local", ONE_THREAD), ("basic",)], ids=["local", "basic"])
def test_a_sweep_whose_trials_work_in_their_folders_has_one_record(launcher, folder):
    provide_store(folder)
    name, *options = launcher
    sweep = ("-m", f"hydra/launcher={name}", *options, "hydra.sweeper.study_name=s", "loss.temperature=0.05,0.1")
    done = run(*TRAIN, *sweep, *TINY, cwd=folder, check=True)
    assert stores(folder) == ["mlflow.db", "optuna.journal"]
    sweeps = Sweeps(folder)
    assert sweeps.states() == ["COMPLETE", "COMPLETE"]
    (parent,), children = sweeps.children()
    assert len(children) == 2
    assert all(child.info.status == "FINISHED" for child in (parent, *children))
    assert sorted(child.info.run_name for child in children) == ["000 τ=0.05", "001 τ=0.1"]
    assert {child.data.params["loss.temperature"] for child in children} == {"0.05", "0.1"}
    assert "Best runs: " in done.stderr
    assert not list(folder.glob("multirun/s/*/tokens"))

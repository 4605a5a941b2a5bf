"""What can be known before data are read or a model is built is one line, on the real command."""

import json
import random
import shutil
import sqlite3
from contextlib import closing

import optuna
import pytest
from hydra import compose, initialize_config_dir
from mlflow import MlflowClient
from optuna.storages import RDBStorage

from contrastive_app.sweep_checks import preflight
from optuna_sweep.errors import SweepError
from optuna_sweep.study.ledger import open_ledger, open_patiently
from optuna_sweep.study.storage import storage_lock
from support.commands import ONE_THREAD, ROOT, run, runs, train
from support.ports import free_port

TINY = ["trainer.epochs=1", "trainer.precision=fp32", "model.encoder.hidden_size=32", "model.encoder.vocab_size=400"]
TINY += ["model.encoder.num_layers=1", "data.max_length=32", "trainer.steadiness=never"]
TINY += [
    "trainer.keep_checkpoints=true",
    "tracking.system_metrics=false",
    "tracking.log_model=false",
    "sampler.batch_size=16",
]


def write_votes(folder, seed=0):
    folder.mkdir(exist_ok=True)
    for split, size in (("train", 64), ("valid", 32), ("test", 32)):
        votes = random.Random(f"{split} {seed}")
        rows = [
            {"id": f"{split}{index}", "context": [f"{split}에 무엇을 할까"], "response": f"응답 {split} {index}"}
            | {"votes": {"a": [votes.randrange(2), votes.randrange(2)]}}
            for index in range(size)
        ]
        text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")


def refusal(folder, *overrides):
    """The one line with which the command refuses, after "loading …"."""
    done = train(folder, *overrides, check=False)
    assert done.returncode == 1
    _, line = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of one epoch in the folder out, on votes in the folder votes."""
    folder = tmp_path_factory.mktemp("finished")
    write_votes(folder / "votes")
    train(folder, "data=votes", "data.path=votes", "hydra.run.dir=out", *TINY)
    return folder


@pytest.mark.slow
def test_a_resume_on_changed_data_is_refused_and_a_deleted_run_is_named(finished):
    again = ["data=votes", "data.path=votes", "trainer.resume_from=out", *TINY, "trainer.epochs=2"]
    write_votes(finished / "votes", seed=1)
    assert "the data have changed since the run in" in refusal(finished, *again)
    write_votes(finished / "votes")
    client, (recorded,) = runs(finished)
    client.delete_run(recorded.info.run_id)
    assert f"mlflow runs restore --run-id {recorded.info.run_id}" in refusal(finished, *again)
    client.restore_run(recorded.info.run_id)
    client.delete_experiment(recorded.info.experiment_id)
    line = refusal(finished, "data=votes", "data.path=votes", *TINY)
    assert "the experiment contrastive-quality was deleted in" in line
    assert "choose another tracking.experiment" in line
    assert "was deleted in" in refusal(finished, "-m", "loss.temperature=0.1,0.2", *TINY)
    client.restore_experiment(recorded.info.experiment_id)
    train(finished, *again)
    _, (recorded,) = runs(finished)
    assert recorded.info.status == "FINISHED"


def test_a_study_on_changed_data_is_refused_and_the_reason_names_the_data(tmp_path):
    """As `-m` does before its first trial: preflight gives the data's fingerprint, and the study's must be the same."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", ["data=votes", f"data.path={tmp_path}/votes", "tracking=none"])
    storage = open_patiently(str(tmp_path / "study.journal"), 1.0)
    lock, pruner = storage_lock(str(tmp_path / "study.journal")), optuna.pruners.NopPruner()

    def continued():
        return open_ledger(storage, lock, "s", ["maximize"], {"data": preflight(config)}, pruner)

    write_votes(tmp_path / "votes")
    continued().study.add_trial(optuna.trial.create_trial(value=0.5))
    write_votes(tmp_path / "votes", seed=1)
    refused = "study s has trials of something else, .*: the data have changed, fingerprint: [0-9a-f]{12} -> [0-9a-f]"
    with pytest.raises(SweepError, match=refused):
        continued()
    write_votes(tmp_path / "votes")
    assert len(continued().trials) == 1


@pytest.mark.slow
def test_a_resume_from_damaged_files_is_one_line_and_changes_nothing(tmp_path):
    write_votes(tmp_path / "votes")
    options = ["data=votes", "data.path=votes", *TINY]
    train(tmp_path, *options, "hydra.run.dir=out")
    (state,) = tmp_path.glob("out/checkpoints/*/state.pt")
    index, run_file = tmp_path / "out/checkpoints/checkpoints.json", tmp_path / "out/run.json"
    for file in (state, index, run_file):
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
        done = train(tmp_path, *options, "trainer.resume_from=out", "trainer.epochs=2", check=False)
        assert done.returncode == 1
        assert done.stderr.strip().splitlines()[-1].startswith(f"error: {file} is damaged")
        assert "Traceback" not in done.stderr
        file.write_bytes(content)
    best = shutil.copytree(state.parent, state.parent.with_name("the_best"))
    index.write_text(json.dumps({"last": state.parent.name, "best": best.name}))
    content, half = state.read_bytes(), state.stat().st_size // 2
    state.write_bytes(content[:half] + bytes(4096) + content[half + 4096 :])
    done = train(tmp_path, *options, "trainer.resume_from=out", "trainer.epochs=2")
    assert "state.pt is damaged: the run continues from the_best, the" in " ".join(done.stderr.split())
    _, (recorded,) = runs(tmp_path)
    assert recorded.info.status == "FINISHED"


AWAY = {
    "tracking.uri=http://kim:hid%20den@127.0.0.1:9": "cannot reach the MLflow server http://***@127.0.0.1:9",
    "tracking.uri='http://kim:hid den@127.0.0.1:9'": "cannot reach the MLflow server http://***@127.0.0.1:9",
    "tracking.uri=http://kim:hid한@127.0.0.1:9": "needs quotes inside quotes",
    "tracking.uri=postgresql://kim:hidden@127.0.0.1:9/db": "cannot be opened",
    "tracking.uri=mysql+pymysql://kim:hidden@127.0.0.1:9/db": "needs the driver pymysql",
    "hydra.sweeper.storage=postgresql://kim:hidden@127.0.0.1:9/db": "hydra.sweeper.storage: postgresql://***@127.0.0.1",
    "hydra.sweeper.storage=mysql+pymysql://kim:hidden@127.0.0.1:9/db": "needs the driver pymysql",
    "hydra.sweeper.storage=sqlite:///notes.jsonl": "notes.jsonl cannot be opened: file is not a database",
    "tracking.uri=sqlite:///notes.jsonl": "notes.jsonl cannot be opened: file is not a database",
}


@pytest.mark.slow
@pytest.mark.parametrize(("override", "message"), AWAY.items())
def test_a_store_that_cannot_be_used_is_one_line_before_data_are_read(override, message, tmp_path):
    """These data would be refused: nobody has judged them."""
    (tmp_path / "notes.jsonl").write_text('{"response": "no database"}\n' * 40)
    line = refusal(tmp_path, "-m", "loss.temperature=0.1,0.2", override, "data=votes", "data.path=notes.jsonl", *TINY)
    assert message in line
    assert "hid" not in line
    assert not list(tmp_path.glob("*.db"))


@pytest.mark.slow
def test_a_study_file_that_cannot_be_used_is_named_with_its_option(tmp_path):
    (tmp_path / "notes.txt").write_text("no journal\n" * 3)
    with closing(sqlite3.connect(tmp_path / "study.db")) as database, database:
        RDBStorage(f"sqlite:///{tmp_path}/study.db").engine.dispose()
        database.execute("UPDATE alembic_version SET version_num = 'v9.9.9.a'")
    sweep = [
        "-m",
        "loss.temperature=0.1,0.2",
        *(option for option in TINY if "tracking" not in option),
        "tracking=none",
    ]
    for storage, message in (("notes.txt", "notes.txt is no journal"), ("sqlite:///study.db", "study.db: The runtime")):
        line = refusal(tmp_path, *sweep, f"hydra.sweeper.storage={storage}")
        assert line.startswith("error: hydra.sweeper.storage: ")
        assert message in line


@pytest.mark.slow
def test_no_password_is_printed_recorded_or_left_in_a_file(tmp_path, postgres):
    """PostgreSQL takes any password here. Hydra's own files in .hydra keep it: `sync` reads the address there."""
    studies = postgres.url.replace("tester@", "tester:hid%2Fden@")
    postgres.use_new_database()
    store = postgres.url.replace("tester@", "tester:hid%2Fden@")
    write_votes(tmp_path / "votes")
    options = ["data=votes", "data.path=votes", *TINY, f"tracking.uri={store}", f"hydra.sweeper.storage={studies}"]
    done = train(tmp_path, "-m", "loss.temperature=0.1,0.2", "hydra.sweeper.n_trials=1", ONE_THREAD, *options)
    printed = done.stdout + done.stderr
    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("contrastive-quality").experiment_id
    recorded = [str(found.to_dictionary()) for found in client.search_runs([experiment])]
    assert len(recorded) == 2
    files = [path for path in tmp_path.rglob("*") if path.is_file() and ".hydra" not in path.parts]
    assert any(path.name == "config.yaml" for path in files)  # in MLflow's folder of artifacts
    assert any(path.name == "multirun.yaml" for path in files)
    contents = {path.name: path.read_bytes().decode(errors="replace") for path in files}
    leaks = [name for name, text in contents.items() if "hid%2Fden" in text or "hid/den" in text]
    assert leaks == []
    assert not any("hid%2Fden" in text or "hid/den" in text for text in (printed, *recorded))


@pytest.mark.slow
def test_the_ui_of_a_file_that_is_no_store_is_one_line(tmp_path):
    (tmp_path / "notes.jsonl").write_text('{"response": "no database"}\n' * 40)
    done = run("-m", "src.ui", "--store", "notes.jsonl", "--port", str(free_port()), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("notes.jsonl cannot be opened: file is not a database")
    assert done.stderr.startswith("error: --store: ")


@pytest.mark.slow
def test_a_mistyped_option_of_hydra_does_not_print_the_password(tmp_path):
    done = run("-m", "src.train", "loss.temperature=0.1", "-x", "tracking.uri=http://kim:hidden@host", cwd=tmp_path)
    assert done.returncode == 2
    assert "unrecognized arguments" in done.stderr
    assert "hidden" not in done.stderr

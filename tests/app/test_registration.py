"""Where a judge is registered."""

import pytest
from mlflow import MlflowClient

from support.commands import ONE_THREAD, SMALL, TRAIN, provide_store, run
from support.sweeps import Sweeps


@pytest.mark.slow
def test_only_the_store_that_is_named_is_used_and_registered_in(tmp_path):
    provide_store(tmp_path, "other.db")
    named = f"sqlite:///{tmp_path}/other.db"
    store = ("tracking.uri=sqlite:///other.db", "tracking.register=judge", "tracking.system_metrics=false")
    foreign = {"MLFLOW_REGISTRY_URI": f"sqlite:///{tmp_path}/foreign.db"}
    run(*TRAIN, *SMALL, *store, "trainer.epochs=1", cwd=tmp_path, check=True, **foreign)
    client = MlflowClient(tracking_uri=named, registry_uri=named)
    (recorded,) = client.search_runs([client.get_experiment_by_name("contrastive-quality").experiment_id])
    assert recorded.info.status == "FINISHED"
    champion = client.get_model_version_by_alias("judge", "champion")
    assert (champion.version, champion.run_id) == (1, recorded.info.run_id)

    sweep = ("-m", "loss.temperature=0.05,0.1", "hydra.sweeper.study_name=s", ONE_THREAD)
    done = run(*TRAIN, *sweep, *SMALL, *store, "trainer.epochs=1", cwd=tmp_path, check=True, **foreign)
    assert "Registered: models:/judge/2, also models:/judge@champion" in done.stdout
    champion = client.get_model_version_by_alias("judge", "champion")
    best = str(Sweeps(tmp_path).study().best_trial.number)
    assert (champion.version, client.get_run(champion.run_id).data.tags["sweep.trial"]) == (2, best)
    assert [file.name for file in tmp_path.rglob("*.db")] == ["other.db"]

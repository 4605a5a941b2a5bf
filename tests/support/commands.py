"""The real command in a subprocess, and the runs that it records."""

import os
import subprocess
import sys
from pathlib import Path

from mlflow import MlflowClient

ROOT = Path(__file__).parents[2]
SMALL = [
    "data.source.train_size=96",
    "data.source.valid_size=48",
    "data.source.test_size=48",
    "data.source.test_ood_size=48",
    "model.encoder.hidden_size=32",
    "model.encoder.vocab_size=800",
    "trainer.epochs=2",
]


def command(*overrides):
    return [sys.executable, "-m", "src.train", *overrides]


def train(folder, *overrides, check=True):
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command(*overrides), cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def runs(folder):
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("contrastive-quality")
    return client, client.search_runs([experiment.experiment_id]) if experiment else []

import resource
import signal

import pytest
import torch
from torch import nn

from contrastive_learning.training.checkpoints import load_state, load_weights, save_checkpoint


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def filled(value):
    model = nn.Linear(300, 300)
    nn.init.constant_(model.weight, value)
    return model


def test_keeps_the_last_and_the_best_only(tmp_path):
    for epoch, best in ((1, True), (2, True), (3, False), (4, False)):
        save_checkpoint(tmp_path, f"epoch_{epoch}", filled(epoch), {"epoch": epoch}, best=best)
    assert names(tmp_path) == ["epoch_2", "epoch_4"]
    model = nn.Linear(300, 300)
    load_weights(tmp_path, "best", model)
    assert model.weight[0, 0] == 2
    load_weights(tmp_path, "last", model)
    assert model.weight[0, 0] == 4
    assert load_state(tmp_path) == {"epoch": 4}


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path):
    save_checkpoint(tmp_path, "epoch_1", filled(1), {"epoch": 1}, best=True)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # the weights need 361 kB
    try:
        with pytest.raises(ValueError, match="earlier checkpoints are intact"):
            save_checkpoint(tmp_path, "epoch_2", filled(2), {"epoch": 2}, best=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    model = nn.Linear(300, 300)
    load_weights(tmp_path, "best", model)
    assert model.weight[0, 0] == 1
    assert names(tmp_path) == ["epoch_1"]


def test_missing_and_foreign_checkpoints_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"no checkpoint in .*checkpoints\.json is missing"):
        load_state(tmp_path)
    save_checkpoint(tmp_path, "epoch_1", filled(1), {}, best=True)
    with pytest.raises(ValueError, match="is of another model"):
        load_weights(tmp_path, "last", nn.Linear(2, 2))


def test_tensors_in_the_state_survive(tmp_path):
    state = {"optimizer": {"state": {0: {"exp_avg": torch.arange(3.0)}}}, "rng": torch.get_rng_state()}
    save_checkpoint(tmp_path, "epoch_1", filled(1), state, best=True)
    found = load_state(tmp_path)
    assert found["optimizer"]["state"][0]["exp_avg"].tolist() == [0, 1, 2]
    assert found["rng"].equal(state["rng"])

import json
import resource
import signal

import pytest
import torch
from torch import nn

from contrastive_learning.training.checkpoints import (
    INDEX,
    WEIGHTS,
    load_state,
    load_weights,
    save_checkpoint,
    use_whole_checkpoint,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def filled(value):
    model = nn.Linear(300, 300)
    nn.init.constant_(model.weight, value)
    return model


def weights(value):
    return {WEIGHTS: filled(value).state_dict()}


def test_keeps_the_last_and_the_best_only(tmp_path):
    for epoch, best in ((1, True), (2, True), (3, False), (4, False)):
        save_checkpoint(tmp_path, f"epoch_{epoch}", weights(epoch), {"epoch": epoch}, best=best)
    assert names(tmp_path) == ["epoch_2", "epoch_4"]
    model = nn.Linear(300, 300)
    load_weights(tmp_path, "best", model)
    assert model.weight[0, 0] == 2
    load_weights(tmp_path, "last", model)
    assert model.weight[0, 0] == 4
    assert load_state(tmp_path) == {"epoch": 4}


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path):
    save_checkpoint(tmp_path, "epoch_1", weights(1), {"epoch": 1}, best=True)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # the weights need 361 kB
    try:
        with pytest.raises(ValueError, match="earlier checkpoints are intact"):
            save_checkpoint(tmp_path, "epoch_2", weights(2), {"epoch": 2}, best=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    model = nn.Linear(300, 300)
    load_weights(tmp_path, "best", model)
    assert model.weight[0, 0] == 1
    assert names(tmp_path) == ["epoch_1"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(ValueError, match="cannot save checkpoint .*/taken/epoch_1: .*File exists"):
        save_checkpoint(tmp_path / "taken", "epoch_1", weights(1), {"epoch": 1}, best=True)


def test_missing_and_foreign_checkpoints_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"no checkpoint in .*checkpoints\.json is missing"):
        load_state(tmp_path)
    save_checkpoint(tmp_path, "epoch_1", weights(1), {}, best=True)
    with pytest.raises(ValueError, match="is of another model"):
        load_weights(tmp_path, "last", nn.Linear(2, 2))


def test_tensors_in_the_state_survive(tmp_path):
    state = {"optimizer": {"state": {0: {"exp_avg": torch.arange(3.0)}}}, "rng": torch.get_rng_state()}
    save_checkpoint(tmp_path, "epoch_1", weights(1), state, best=True)
    found = load_state(tmp_path)
    assert found["optimizer"]["state"][0]["exp_avg"].tolist() == [0, 1, 2]
    assert found["rng"].equal(state["rng"])


DAMAGES = {
    "empty": lambda content: b"",
    "one byte": lambda content: content[:1],
    "cut off": lambda content: content[: len(content) // 2],
    "cut off by a byte": lambda content: content[:-1],
    "zeros at its head": lambda content: bytes(512) + content[512:],
    "a hole": lambda content: content[: len(content) // 3] + bytes(256) + content[len(content) // 3 + 256 :],
    "zeros": lambda content: bytes(len(content)),
    "a text": lambda content: b"no checkpoint\n",
    "a page": lambda content: b"<html></html>",
    "missing": None,
}


def damage(file, change):
    content = file.read_bytes()
    file.unlink()
    if change is not None:
        assert change(content) != content
        file.write_bytes(change(content))


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("name", ["model.safetensors", "state.pt"])
def test_a_damaged_checkpoint_names_the_other_one_which_then_loads(tmp_path, name, change):
    for epoch in (1, 2):
        save_checkpoint(tmp_path, f"epoch_{epoch}", weights(epoch), {"epoch": epoch}, best=epoch == 1)
    damage(tmp_path / "epoch_2" / name, change)
    model = filled(0)

    def load():
        load_weights(tmp_path, "last", model)
        return load_state(tmp_path)

    with pytest.raises(ValueError, match=rf"epoch_2/{name} is damaged.*, or write epoch_1 as .* into .*{INDEX}$"):
        load()
    assert names(tmp_path) == ["epoch_1", "epoch_2"]
    (tmp_path / INDEX).write_text(json.dumps({"last": "epoch_1", "best": "epoch_1"}))
    assert load() == {"epoch": 1}
    assert model.weight[0, 0] == 1


def test_the_only_checkpoint_damaged_leaves_a_new_run(tmp_path):
    save_checkpoint(tmp_path, "epoch_1", weights(1), {}, best=True)
    damage(tmp_path / "epoch_1" / "state.pt", DAMAGES["cut off"])
    with pytest.raises(ValueError, match=r"restore it from a copy, or start a new run$"):
        load_state(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "state.pt", "crc32.json"])
@pytest.mark.parametrize("change", [DAMAGES["a hole"], DAMAGES["zeros"], None], ids=["a hole", "zeros", "missing"])
def test_a_damaged_last_checkpoint_gives_way_to_the_best_one(tmp_path, name, change):
    for epoch in (1, 2):
        save_checkpoint(tmp_path, f"epoch_{epoch}", weights(epoch), {"epoch": epoch}, best=epoch == 1)
    assert use_whole_checkpoint(tmp_path) is None
    damage(tmp_path / "epoch_2" / name, change)
    is_as_an_older_one = name == "crc32.json" and change is None
    remark = use_whole_checkpoint(tmp_path)
    if is_as_an_older_one:
        assert remark is None
        assert load_state(tmp_path) == {"epoch": 2}
    else:
        assert remark.endswith("is damaged: the run continues from epoch_1, the best checkpoint before it")
        assert load_state(tmp_path) == {"epoch": 1}
    load_weights(tmp_path, "best", filled(0))


@pytest.mark.parametrize("is_best", [True, False])
def test_a_damaged_best_checkpoint_is_named_before_the_run_continues(tmp_path, is_best):
    save_checkpoint(tmp_path, "epoch_1", weights(1), {"epoch": 1}, best=True)
    save_checkpoint(tmp_path, "epoch_2", weights(2), {"epoch": 2}, best=is_best)
    best = "epoch_2" if is_best else "epoch_1"
    damage(tmp_path / best / "model.safetensors", DAMAGES["a hole"])
    with pytest.raises(ValueError, match=rf"{best}/model.safetensors is damaged, cut off or missing: restore it from"):
        use_whole_checkpoint(tmp_path)


@pytest.mark.parametrize("content", ["", '{"last": "epo', '{"last": "epoch_1"}{}', "[]", "{}", "\0\0", "\udcff"])
def test_a_damaged_index_is_one_line_that_names_the_checkpoints(tmp_path, content):
    save_checkpoint(tmp_path, "epoch_1", weights(1), {}, best=True)
    (tmp_path / INDEX).write_bytes(content.encode(errors="surrogateescape"))
    message = rf"{INDEX} is damaged: write .* names of the checkpoints beside it \({{}}\), or start a new run$"
    with pytest.raises(ValueError, match=message.format("epoch_1")):
        load_weights(tmp_path, "last", filled(0))
    with pytest.raises(ValueError, match=message.format("epoch_1, epoch_2")):
        save_checkpoint(tmp_path, "epoch_2", weights(2), {}, best=False)
    assert names(tmp_path) == ["epoch_1", "epoch_2"]

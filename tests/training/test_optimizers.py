import pytest
import torch
from torch import nn

from contrastive_learning.training.optimizers import adafactor, adamw, parameter_groups, sgd

COMMON = {"lr": 1e-3, "head_lr": 1e-2, "weight_decay": 0.1, "layer_decay": 1.0, "warmup_ratio": 0.1}


class TwoLayers(nn.Module):
    """Named as transformers names them: encoder.layer.0, encoder.layer.1, beside a head."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])})
        self.classification_head = nn.Linear(4, 2)

    def forward(self, inputs):
        for layer in self.encoder["layer"]:
            inputs = torch.tanh(layer(inputs))
        return self.classification_head(inputs)


def test_groups_separate_heads_from_encoder_and_vectors_from_matrices():
    groups = parameter_groups(TwoLayers(), lr=1e-3, head_lr=1e-2, weight_decay=0.1, layer_decay=1.0)
    found = {(group["lr"], group["weight_decay"]): len(group["params"]) for group in groups}
    assert found == {(1e-3, 0.1): 2, (1e-3, 0.0): 2, (1e-2, 0.1): 1, (1e-2, 0.0): 1}


def test_layer_decay_falls_from_the_top_layer():
    groups = parameter_groups(TwoLayers(), lr=1.0, head_lr=5.0, weight_decay=0.0, layer_decay=0.5)
    assert sorted({group["lr"] for group in groups}) == [0.5, 1.0, 5.0]


@pytest.mark.parametrize(
    ("build", "extra"),
    [(adamw, {"betas": (0.9, 0.999), "eps": 1e-8}), (adafactor, {}), (sgd, {"momentum": 0.9})],
)
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_each_optimizer_fits_and_each_schedule_ends_at_zero(build, extra, schedule):
    torch.manual_seed(0)
    model, inputs = TwoLayers(), torch.randn(64, 4)
    targets = torch.stack([inputs[:, 0] > 0, inputs[:, 1] > 0], 1).float()
    optimizer, scheduler = build(model, 60, **COMMON, **extra, schedule=schedule)
    losses = []
    for _ in range(60):
        loss = nn.functional.binary_cross_entropy_with_logits(model(inputs), targets)
        loss.backward()
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert scheduler.get_last_lr()[0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.0}, "optimizer.lr must be positive"),
        ({"layer_decay": 0.0}, "layer_decay must be in"),
        ({"warmup_ratio": 1.0}, "warmup_ratio must be in"),
        ({"schedule": "linaer"}, "did you mean linear"),
    ],
)
def test_bad_settings_are_named(change, message):
    settings = COMMON | {"schedule": "linear", "momentum": 0.0} | change
    with pytest.raises(ValueError, match=message):
        sgd(TwoLayers(), 10, **settings)

"""Gradients in chunks against those of one graph over the same chunks, dropout on."""

import pytest
import torch
from accelerate.utils import send_to_device

from contrastive_learning.data.batches import Batch
from contrastive_learning.losses import JointLoss, SupConLoss
from contrastive_learning.model.passes import passes_of
from contrastive_learning.runtime.devices import accelerator
from contrastive_learning.training.grad_cache import backward_in_passes
from support.small_task import VotedBatches, build_trainer, losses_of, tiny_model


def joint():
    return JointLoss(
        contrastive=SupConLoss(temperature=0.1, denominator="all", projection="shared", criterion_weights=None),
        lambda_contrastive=0.3,
        targets="soft",
        criterion_weights=None,
        pos_weight=None,
    )


def gradients(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("chunk_size", [5, 8, 24])
@pytest.mark.parametrize("encoder_share", [1.0, 0.3])
def test_equals_one_graph_over_the_whole_batch(device, chunk_size, encoder_share):
    torch.manual_seed(0)
    model = tiny_model(dropout=0.2).double().train().to(device)
    batch = Batch.of(send_to_device(VotedBatches(24, 0).collate(list(range(24))), device))
    votes = batch.yes_votes, batch.num_votes

    torch.manual_seed(1)
    chunks = zip(batch.input_ids.split(chunk_size), batch.attention_mask.split(chunk_size), strict=True)
    output = model.judge(torch.cat([model.encode(*chunk) for chunk in chunks]), encoder_share=encoder_share)
    whole = joint()(output.logits, output.embeddings, *votes)
    whole.total.backward()
    expected = gradients(model)
    drawn_after = torch.rand(3, device=device)

    def evaluate(output):
        losses = joint()(output.logits, output.embeddings, *votes)
        return losses.total, losses.total.item()

    model.zero_grad()
    torch.manual_seed(1)
    cached = backward_in_passes(
        model,
        batch,
        evaluate,
        accelerator(device, "fp32"),
        passes=passes_of([6] * 24, max_rows=chunk_size, max_tokens=None),
        encoder_share=encoder_share,
    )
    assert cached == pytest.approx(whole.total.item(), rel=1e-6)
    assert torch.equal(torch.rand(3, device=device), drawn_after)
    found = gradients(model)
    assert found.keys() == expected.keys()
    scale = max(grad.abs().max() for grad in expected.values())
    for name, grad in expected.items():
        torch.testing.assert_close(found[name] / scale, grad / scale, rtol=0, atol=1e-6, msg=name)


def test_trains_as_without_it_where_there_is_no_dropout(tmp_path, device):
    common = {"epochs": 2, "dropout": 0.0, "device": device, "precision": "fp32"}
    plain = losses_of(build_trainer(tmp_path / "plain", **common).fit())
    cached = losses_of(build_trainer(tmp_path / "cached", **common, grad_cache_chunk=5).fit())
    torch.testing.assert_close(torch.tensor(cached), torch.tensor(plain), rtol=1e-4, atol=1e-5)

"""Gradients in chunks against those of one graph over the same chunks, dropout on."""

import gc

import pytest
import torch
from accelerate.utils import send_to_device

from contrastive_learning.data.batches import Batch
from contrastive_learning.losses import BalancedLoss, GradedLoss, JointLoss, SupConLoss
from contrastive_learning.model.passes import passes_of
from contrastive_learning.runtime.devices import accelerator
from contrastive_learning.training.grad_cache import backward_in_passes
from contrastive_learning.training.views import repeated
from support.small_task import (
    VotedBatches,
    build_trainer,
    half_of_the_tokens,
    losses_of,
    terms_on_two_views,
    tiny_model,
)


def joint(views):
    return JointLoss(
        contrastive=SupConLoss(temperature=0.1, denominator="all", projection="shared", criterion_weights=None),
        lambda_contrastive=0.3,
        targets="soft",
        criterion_weights=None,
        pos_weight=None,
        **(terms_on_two_views() if views == 2 else {}),
    )


def gradients(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("chunk_size", [5, 8, 24])
@pytest.mark.parametrize(("encoder_share", "views"), [(1.0, 1), (0.3, 1), (0.3, 2)])
def test_equals_one_graph_over_the_whole_batch(device, chunk_size, encoder_share, views):
    torch.manual_seed(0)
    model = tiny_model(dropout=0.2).double().train().to(device)
    batch = repeated(Batch.of(send_to_device(VotedBatches(24, 0).collate(list(range(24))), device)), views)
    votes = batch.yes_votes, batch.num_votes

    torch.manual_seed(1)
    chunks = zip(batch.input_ids.split(chunk_size), batch.attention_mask.split(chunk_size), strict=True)
    output = model.judge(torch.cat([model.encode(*chunk) for chunk in chunks]), encoder_share=encoder_share)
    whole = joint(views)(output.logits, output.embeddings, *votes, views=views)
    assert views == 1 or min(whole.instance.item(), whole.consistency.item()) > 0
    whole.total.backward()
    expected = gradients(model)
    drawn_after = torch.rand(3, device=device)

    def evaluate(output):
        losses = joint(views)(output.logits, output.embeddings, *votes, views=views)
        return losses.total, losses.total.item()

    model.zero_grad()
    torch.manual_seed(1)
    cached = backward_in_passes(
        model,
        batch,
        evaluate,
        accelerator(device, "fp32"),
        passes=passes_of([6] * 24 * views, max_rows=chunk_size, max_tokens=None),
        encoder_share=encoder_share,
    )
    assert cached == pytest.approx(whole.total.item(), rel=1e-6)
    assert torch.equal(torch.rand(3, device=device), drawn_after)
    found = gradients(model)
    assert found.keys() == expected.keys()
    scale = max(grad.abs().max() for grad in expected.values())
    for name, grad in expected.items():
        torch.testing.assert_close(found[name] / scale, grad / scale, rtol=0, atol=1e-6, msg=name)


def test_states_of_all_tokens_do_not_outlive_their_pass():
    """With cls pooling, what is pooled is a view of them: kept, it would keep [batch, tokens, hidden]."""
    model = tiny_model()
    model.pooling = "cls"
    batch = Batch.of(VotedBatches(24, 0).collate(list(range(24))))

    def storages():
        alive = (each.untyped_storage() for each in gc.get_objects() if type(each) is torch.Tensor)
        return {each.data_ptr(): each.nbytes() for each in alive}

    found = {}

    def evaluate(output):
        found.update(storages())
        return joint(1)(output.logits, output.embeddings, batch.yes_votes, batch.num_votes).total, None

    before = storages()
    passes = passes_of([6] * 24, max_rows=20, max_tokens=None)
    backward_in_passes(model, batch, evaluate, accelerator("cpu", "fp32"), passes=passes, encoder_share=1.0)
    assert max(size for place, size in found.items() if place not in before) < 20 * 6 * 32 * 4


def test_only_the_heads_of_a_frozen_encoder_are_trained(tmp_path):
    trainer = build_trainer(tmp_path, grad_cache_chunk=5)
    encoder = trainer.model.encoder.requires_grad_(False)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    head = trainer.model.projection_head[0].weight.clone()
    trainer.train_epoch()
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert not torch.equal(trainer.model.projection_head[0].weight, head)


OPTIONS = {"temperature": 0.2, "projection": "per_criterion", "criterion_weights": None}
ACROSS = SupConLoss(**OPTIONS, denominator="all", domains="across")


@pytest.mark.parametrize(("views", "loss"), [(1, ACROSS), (1, GradedLoss(**OPTIONS)), (2, BalancedLoss(**OPTIONS))])
def test_trains_as_without_it_where_there_is_no_dropout(tmp_path, device, views, loss):
    def losses(folder, **changes):
        trainer = build_trainer(tmp_path / folder, **changes)
        trainer.loss.contrastive_loss = loss
        return losses_of(trainer.fit())

    common = {"epochs": 2, "dropout": 0.0, "device": device, "precision": "fp32", "views": views}
    if device == "cpu":  # Adam makes steps of what is only rounding
        common["dtype"] = torch.float64
    if views == 2:
        common |= {"loss_changes": terms_on_two_views(), "unjudged": 50, "cutoff": half_of_the_tokens()}
        common["padding_free"] = True
    plain = losses("plain", **common)
    for passes in ({"grad_cache_chunk": 5}, {"tokens_per_pass": 50}):
        cut = losses(next(iter(passes)), **common, **passes)
        tolerance = {"rtol": 1e-6, "atol": 1e-7} if device == "cpu" else {"rtol": 1e-4, "atol": 1e-5}
        torch.testing.assert_close(torch.tensor(cut), torch.tensor(plain), **tolerance)

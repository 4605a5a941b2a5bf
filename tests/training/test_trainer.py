"""The loop, on a small learnable task."""

import inspect
import json
import re
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from contrastive_learning import ContrastiveTrainer
from contrastive_learning.judging import NeighboursJudge
from contrastive_learning.model.dropout import QuickDropout
from contrastive_learning.runtime.devices import seed_everything
from contrastive_learning.samplers import balanced
from contrastive_learning.training import Hooks, RunContext, TrainingPaused
from contrastive_learning.training.checkpoints import INDEX
from support.gpu import NEEDS_CUDA
from support.questions import Questions
from support.small_task import (
    VotedBatches,
    build_trainer,
    examples,
    half_of_the_tokens,
    hard_negative,
    losses_of,
    terms_on_two_views,
    tiny_model,
)


def test_training_learns(tmp_path, device):
    trainer = build_trainer(tmp_path, epochs=8, device=device)
    before = trainer.evaluate()["auroc"]
    history = trainer.fit()
    assert history[-1]["train/bce_loss"] < history[0]["train/bce_loss"]
    assert trainer.evaluate()["auroc"] > max(0.85, before)


def test_help_begins_with_a_signature_that_one_can_read():
    assert "train_loader: 'Loader', " in str(inspect.signature(ContrastiveTrainer))


def test_total_is_bce_plus_lambda_times_contrastive(tmp_path):
    epoch = build_trainer(tmp_path, lambda_contrastive=0.3).train_epoch()
    assert epoch["total_loss"] == pytest.approx(epoch["bce_loss"] + 0.3 * epoch["contrastive_loss"], rel=1e-5)


def test_two_views_add_their_terms_and_log_them(tmp_path):
    changes = {"views": 2, "loss_changes": terms_on_two_views()}
    epoch = build_trainer(tmp_path, lambda_contrastive=0.2, **changes).train_epoch()
    weighted = 0.2 * epoch["contrastive_loss"] + 0.3 * epoch["instance_loss"] + 0.5 * epoch["consistency_loss"]
    assert epoch["total_loss"] == pytest.approx(epoch["bce_loss"] + weighted, rel=1e-5)
    assert epoch["consistency_loss"] > 1e-4  # dropout makes the views differ
    assert epoch["valid_anchors"] == 1  # every response has its own other view
    assert build_trainer(tmp_path).train_epoch().keys() == epoch.keys() - {"instance_loss", "consistency_loss"}
    warming = build_trainer(tmp_path, lambda_warmup_epochs=1e9, **changes).train_epoch()
    assert warming["total_loss"] == pytest.approx(warming["bce_loss"], rel=1e-6)


def test_batches_are_padded_on_cpus_only_if_they_are_to_be(tmp_path):
    models = {free: build_trainer(tmp_path, padding_free=free).model for free in (None, True, False)}
    assert {free: model.padding_free for free, model in models.items()} == {None: True, True: True, False: False}
    assert not any(isinstance(module, QuickDropout) for module in models[False].modules())  # nor another dropout


def test_a_cut_off_second_view_is_another_view_and_the_first_stays(tmp_path):
    """Without dropout the two views are equal, unless the second sees fewer tokens."""
    changes = {"views": 2, "loss_changes": terms_on_two_views(), "dropout": 0.0}
    plain, cut = (build_trainer(tmp_path, **changes, cutoff=each) for each in (None, half_of_the_tokens()))
    inputs = []
    cut.model.encoder.register_forward_pre_hook(lambda *event: inputs.append(event[2]), with_kwargs=True)
    without, found = plain.train_epoch(), cut.train_epoch()
    assert without["consistency_loss"] == 0 < found["consistency_loss"]
    for seen in inputs:
        assert seen["layout"].lengths == [6] * 16 + [4] * 16  # the first stays, and three of five others
    with pytest.raises(ValueError, match=r"data.view_cutoff=0.5 masks tokens of the second view: set trainer.views=2"):
        build_trainer(tmp_path, cutoff=half_of_the_tokens())


def test_a_term_on_two_views_is_refused_with_one(tmp_path):
    with pytest.raises(ValueError, match=r"^loss.instance_weight=0.3 compares two views .* set trainer.views=2"):
        build_trainer(tmp_path, loss_changes=terms_on_two_views())


def test_unjudged_responses_train_and_judge_nothing(tmp_path):
    """The judge that is fitted on the training responses, and the search for near negatives, see only judged ones."""
    on_two_views = {"epochs": 2, "views": 2, "loss_changes": terms_on_two_views()}
    without = build_trainer(tmp_path / "without", sampler=hard_negative, **on_two_views)
    trainer = build_trainer(
        tmp_path / "with",
        sampler=hard_negative,
        unjudged=50,
        judge=NeighboursJudge(k=5, temperature=0.1, space="features"),
        **on_two_views,
    )
    own, other = trainer.fit()[0], without.fit()[0]
    assert own["train/examples_per_second"] > 0
    assert own["train/instance_loss"] != other["train/instance_loss"]
    trainer.evaluate_all()
    assert trainer.judge.training.num_votes.tolist() == [[3, 3]] * 96


def test_lambda_warms_up_from_zero(tmp_path):
    trainer = build_trainer(tmp_path, lambda_contrastive=1.0, lambda_warmup_epochs=2.0)
    first, second, third = (trainer.train_epoch() for _ in range(3))
    share = [(epoch["total_loss"] - epoch["bce_loss"]) / epoch["contrastive_loss"] for epoch in (first, second, third)]
    assert share[0] < 0.3 < share[1] < share[2]
    assert share[2] == pytest.approx(1, rel=1e-4)


def test_the_start_is_told_once_after_the_first_step_and_before_any_checkpoint(tmp_path):
    """Two batches a step; interrupted in that step, and resumed."""
    events = []

    def begin():
        events.append("begun")
        assert not (tmp_path / "checkpoints.json").exists()

    def note(batch, *rest):
        events.append(batch)
        if len(events) == 2:
            signal.raise_signal(signal.SIGINT)

    hooks = Hooks(on_step=note, on_begun=begin)
    with pytest.raises(KeyboardInterrupt):
        build_trainer(tmp_path, hooks=hooks, accumulation_steps=2).fit()
    resumed = build_trainer(tmp_path, hooks=hooks, accumulation_steps=2)
    resumed.resume(tmp_path)
    resumed.fit()
    assert events[:4] == [1, 2, "begun", 3]
    assert events.count("begun") == 1


@pytest.mark.parametrize("sampler", [balanced, hard_negative])
def test_resume_gives_the_losses_of_an_uninterrupted_run(tmp_path, device, sampler):
    """On a GPU, too: its kernels for this small model add up in one order."""
    whole = losses_of(build_trainer(tmp_path / "whole", sampler=sampler, device=device).fit())

    def stop_in_the_third(metrics, epoch):
        if epoch == 3:  # epoch 3 has no checkpoint yet
            raise KeyboardInterrupt

    hooks = Hooks(log=stop_in_the_third)
    interrupted = build_trainer(tmp_path / "parts", sampler=sampler, device=device, hooks=hooks)
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit()
    seed_everything(123)  # the resumed process starts from another random state
    resumed = build_trainer(tmp_path / "parts", sampler=sampler, device=device)
    torch.rand(5, device=device)
    resumed.resume(tmp_path / "parts")
    assert losses_of(resumed.fit()) == whole[2:]


def last_weights(folder):
    last = json.loads((folder / "checkpoints.json").read_text())["last"]
    return (folder / last / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("sampler", "views"), [(balanced, 1), (hard_negative, 1), (balanced, 2)])
@pytest.mark.parametrize("moment", ["in a step", "in the evaluation"])
def test_a_signal_in_mid_epoch_changes_no_bit_of_the_result(tmp_path, sampler, views, moment):
    """Six batches, two a step; the signal comes in the first batch of the second step of the third epoch, or after."""
    changes = {"sampler": sampler, "accumulation_steps": 2, "views": views}
    if views == 2:
        changes |= {"loss_changes": terms_on_two_views(), "unjudged": 50, "cutoff": half_of_the_tokens()}
    whole = build_trainer(tmp_path / "whole", **changes)
    expected = losses_of(whole.fit())

    def tell(*event):
        if interrupted.epoch == (2 if moment == "in a step" else 3) and event[0] in (3, "in the evaluation"):
            signal.raise_signal(signal.SIGINT)

    hooks = Hooks(on_step=tell) if moment == "in a step" else Hooks(log=lambda *_: tell(moment))
    interrupted = build_trainer(tmp_path / "parts", hooks=hooks, **changes)
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit()
    assert json.loads((tmp_path / "parts/checkpoints.json").read_text())["last"] == (
        "epoch_003_batch_4" if moment == "in a step" else "epoch_003_batch_6"
    )
    seed_everything(123)
    resumed = build_trainer(tmp_path / "parts", **changes)
    torch.rand(5)
    resumed.resume(tmp_path / "parts")
    assert losses_of(resumed.fit()) == expected[2:]
    assert last_weights(tmp_path / "parts") == last_weights(tmp_path / "whole")
    assert resumed.best == whole.best


def test_checkpoints_written_beside_the_next_epoch_change_no_bit_of_the_result(tmp_path):
    """The checkpoint of an epoch is held back until the next one has made three steps; a run that is killed in the
    third epoch resumes from that of the second.
    """
    whole = build_trainer(tmp_path / "whole")
    expected = losses_of(whole.fit())
    further = {epoch: threading.Event() for epoch in range(1, whole.settings.epochs)}

    def hold_back(evaluations, metrics, epoch):
        if epoch == 3:
            shutil.copytree(tmp_path / "beside", tmp_path / "killed")
        assert epoch not in further or further[epoch].wait(60)

    def tell(index, num_batches, losses):
        if index == 3 and beside.epoch in further:
            further[beside.epoch].set()

    beside = build_trainer(tmp_path / "beside", hooks=Hooks(tell, on_evaluation=hold_back))
    beside._keeper.beside = True  # as on a GPU
    assert losses_of(beside.fit()) == expected
    assert last_weights(tmp_path / "beside") == last_weights(tmp_path / "whole")
    assert beside.best == whole.best
    seed_everything(123)
    resumed = build_trainer(tmp_path / "killed")
    resumed.resume(tmp_path / "killed")
    assert resumed.epoch == 2
    assert losses_of(resumed.fit()) == expected[2:]


@pytest.mark.parametrize("beside", [False, True])
def test_an_epoch_whose_picture_fails_is_not_saved(tmp_path, beside):
    """So that a run which resumes draws it. What was drawn before was saved after that."""
    saved = []

    def draw(evaluations, metrics, epoch):
        if epoch > 0:
            saved.append(sorted(path.name for path in tmp_path.glob("epoch_*")))
        if epoch == 2:
            raise ValueError("no space left")

    trainer = build_trainer(tmp_path, hooks=Hooks(on_evaluation=draw))
    trainer._keeper.beside = beside
    with pytest.raises(ValueError, match="no space left"):
        trainer.fit()
    assert saved == [[], ["epoch_001"]]
    assert json.loads((tmp_path / "checkpoints.json").read_text())["last"] == "epoch_001"


IN_STEPS = {"accumulation_steps": 2, "report_every": 1, "weight_average": "tail"}  # six batches, three steps an epoch


def test_reports_within_epochs_change_no_bit_of_the_result(tmp_path, device):
    """Nor the choice of the best epoch. The last report of an epoch is its own evaluation."""
    reports, changes = [], IN_STEPS | {"device": device}
    plain = build_trainer(tmp_path / "plain", **changes | {"report_every": None})
    expected = losses_of(plain.fit())
    reporting = build_trainer(tmp_path / "reporting", hooks=Hooks(on_report=reports.append), **changes)
    assert losses_of(reporting.fit()) == expected
    assert last_weights(tmp_path / "reporting") == last_weights(tmp_path / "plain")
    assert reporting.best == plain.best
    places = [(report.number, report.epoch, report.step, report.num_steps) for report in reports]
    assert places == [(3 * epoch + step, epoch + 1, step, 3) for epoch in range(4) for step in (1, 2)]
    assert len({report.metrics["val/auroc"] for report in reports}) > 4
    assert (reporting.reports_per_epoch, plain.reports_per_epoch) == (3, 1)


@pytest.mark.parametrize("number", [1, 8])
def test_a_run_that_pauses_at_a_report_ends_with_the_bits_of_one_that_did_not(tmp_path, number):
    """In its first epoch, of which nothing is saved yet, and at the second step of the third."""
    whole = build_trainer(tmp_path / "whole", **IN_STEPS)
    expected = losses_of(whole.fit())

    def pause(report):
        if report.number == number:
            raise TrainingPaused

    paused = build_trainer(tmp_path / "parts", hooks=Hooks(on_report=pause), **IN_STEPS)
    with pytest.raises(TrainingPaused):
        paused.fit()
    metrics, evaluations, epoch = paused.result()
    assert (set(evaluations), epoch) == ({"val"}, 1 + number // 3)  # the epoch in which it was
    assert paused.evaluate()["auroc"] == metrics["val/auroc"]
    seed_everything(123)
    numbers = []
    hooks = Hooks(on_report=lambda report: numbers.append(report.number))
    resumed = build_trainer(tmp_path / "parts", hooks=hooks, **IN_STEPS)
    torch.rand(5)
    resumed.resume(tmp_path / "parts")
    assert losses_of(resumed.fit()) == expected[number // 3 :]
    assert last_weights(tmp_path / "parts") == last_weights(tmp_path / "whole")
    assert resumed.best == whole.best
    assert numbers == [other for other in range(number + 1, 12) if other % 3]


def test_the_speed_of_an_epoch_leaves_out_its_reports(tmp_path):
    (reported,) = build_trainer(tmp_path, epochs=1, hooks=Hooks(on_report=lambda report: None), **IN_STEPS).fit()
    assert reported["train/examples_per_second"] * reported["train/epoch_seconds"] == pytest.approx(96)


def test_the_encoder_gets_its_share_of_the_contrastive_gradient():
    model, batch = tiny_model(dropout=0.0), VotedBatches(8, 0).collate(list(range(8)))

    def encoder_gradient(share):
        model.zero_grad(set_to_none=False)
        model(batch["input_ids"], batch["attention_mask"], encoder_share=share).embeddings[:, 0].sum().backward()
        return model.encoder.get_input_embeddings().weight.grad.clone()

    whole = encoder_gradient(1.0)
    assert whole.abs().max() > 0
    torch.testing.assert_close(encoder_gradient(0.25), whole / 4)
    assert encoder_gradient(0.0).abs().max() == 0


def test_the_temperature_moves_over_the_epochs(tmp_path):
    changes = {"temperature_schedule": "linear", "temperature_end": 0.2}
    trainer = build_trainer(tmp_path, epochs=2, **changes)
    temperatures = []
    trainer.loss.contrastive_loss.register_forward_pre_hook(
        lambda loss, arguments, options: temperatures.append(options["temperature"]), with_kwargs=True
    )
    trainer.fit()
    assert temperatures == pytest.approx(np.linspace(0.1, 0.2, 13)[:-1].tolist())
    assert trainer.loss.temperature == 0.1  # the loss itself stays as it was built


def test_accumulation_steps_once_for_several_batches(tmp_path):
    """Six batches at four a step are two optimizer steps, the second with what is left."""
    trainer = build_trainer(tmp_path, lambda_contrastive=0.0, accumulation_steps=4)
    assert trainer.steps_per_epoch == 2
    trainer.train_epoch()
    steps = {int(state["step"]) for state in trainer.optimizer.state_dict()["state"].values()}
    assert steps == {2}


def test_stops_when_out_of_patience_and_keeps_the_best(tmp_path):
    trainer = build_trainer(tmp_path, epochs=30, patience=2)
    history = trainer.fit()
    best = max(epoch["val/auroc"] for epoch in history)
    assert len(history) < 30
    assert trainer.evaluate()["auroc"] == pytest.approx(best)


def test_best_weights_return_without_a_checkpoint_folder(tmp_path):
    trainer = build_trainer(None, epochs=6)
    history = trainer.fit()
    assert trainer.evaluate()["auroc"] == pytest.approx(max(epoch["val/auroc"] for epoch in history))


def test_checkpoints_go_when_they_are_discarded_unless_they_are_kept(tmp_path):
    for name, keep in (("kept", True), ("gone", False)):
        trainer = build_trainer(tmp_path / name, epochs=1, keep_checkpoints=keep)
        trainer.fit()
        assert (tmp_path / name / INDEX).exists()
        trainer.discard_checkpoints()
        assert (tmp_path / name).exists() == keep


def test_progress_is_shown_and_other_hooks_are_still_called(tmp_path, capsys):
    logged = []
    hooks = Hooks(log=lambda metrics, epoch: logged.append(epoch))
    trainer = build_trainer(tmp_path, epochs=2, report_every=3, hooks=hooks)
    trainer.fit(progress=True)
    printed = capsys.readouterr().err
    assert "before training" in printed
    assert re.findall(r"epoch (./2), step (.)/6  val/auroc 0\.", printed) == [("1/2", "3"), ("2/2", "3")]
    assert "epoch 2/2  total 0." in printed
    assert logged == [0, 1, 2]
    build_trainer(tmp_path / "silent", epochs=1).fit()
    assert capsys.readouterr().err == ""


def test_the_test_sets_can_wait_for_the_end(tmp_path):
    test = VotedBatches(32, 2)
    held_out = {"test": DataLoader(test, batch_size=32, collate_fn=test.collate)}
    trainer = build_trainer(tmp_path, epochs=1, held_out_each_epoch=False, held_out=held_out)
    (epoch,) = trainer.fit()
    assert "val/macro_f1" in epoch
    assert "test/macro_f1" not in epoch
    assert "test/macro_f1" in trainer.evaluate_all()[0]


def test_a_non_finite_loss_stops_the_run_and_names_the_step(tmp_path):
    trainer = build_trainer(tmp_path, lambda_contrastive=0.0)
    torch.nn.init.constant_(trainer.model.classification_head.weight, float("nan"))
    with pytest.raises(FloatingPointError, match="^the loss is nan, in batch 1 of epoch 1$"):
        trainer.train_epoch()


def test_embeddings_that_are_not_finite_stop_the_run_and_name_the_examples(tmp_path):
    trainer = build_trainer(tmp_path)
    torch.nn.init.constant_(trainer.model.projection_head[-1].weight, float("nan"))
    with pytest.raises(FloatingPointError, match="NaN or inf in 16 of 16 rows") as stop:
        trainer.train_epoch()
    trainer._sampler.set_epoch(0)
    first = next(iter(trainer._sampler))
    assert str(stop.value).endswith(f", in batch 1 of epoch 1, training examples {first[:8]}")


def interrupted(error, step=8):
    """A hook that raises the error, or sends the signal, once."""
    steps = []

    def on_step(*event):
        steps.append(event)
        if len(steps) == step:
            signal.raise_signal(error) if isinstance(error, signal.Signals) else raise_(error)

    return Hooks(on_step=on_step)


def raise_(error):
    raise error


def test_fit_again_after_an_interruption_ends_with_the_same_bits(tmp_path):
    """As in a notebook, whose cell is run again: in the second of four epochs."""
    expected = losses_of(build_trainer(tmp_path / "whole").fit())
    trainer = build_trainer(tmp_path / "parts", hooks=interrupted(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert losses_of(trainer.fit()) == expected[1:]


@pytest.mark.parametrize("error", [RuntimeError("from a hook"), KeyboardInterrupt()], ids=repr)
def test_training_goes_on_after_the_error_of_a_hook(tmp_path, error):
    trainer = build_trainer(tmp_path, hooks=interrupted(error))
    with pytest.raises(type(error)):
        trainer.fit()
    assert [len(epoch) > 0 and epoch["train/total_loss"] < 1 for epoch in trainer.fit()] == [True] * 3


def test_an_epoch_of_other_batches_begins_anew_after_an_interruption():
    data = VotedBatches(32, 0)
    batches = [data.collate(list(range(start, start + 8))) for start in range(0, 32, 8)]
    context = RunContext(hooks=interrupted(KeyboardInterrupt(), step=3))
    trainer = ContrastiveTrainer(tiny_model(), batches, batches, "cpu", {"epochs": 2}, context=context)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert all(epoch["train/total_loss"] < 2 for epoch in trainer.fit())
    assert trainer.epoch == 2
    assert not any(parameter.isnan().any() for parameter in trainer.model.parameters())


def test_a_trainer_that_wants_padding_gets_it_from_a_model_that_was_trained_without():
    data, model = VotedBatches(16, 0), tiny_model()
    batches = [data.collate(list(range(16)))]
    for padding_free in (True, False):
        ContrastiveTrainer(model, batches, batches, "cpu", {"padding_free": padding_free})
        assert model.padding_free == padding_free


@pytest.mark.parametrize(("padding_free", "of_lengths"), [(False, 1), (True, 2)])
def test_a_step_asks_the_device_nothing_but_its_loss(tmp_path, padding_free, of_lengths):
    """The others are asked on the CPU: whether a batch has padding, or where its texts end, and one seed per epoch."""
    changes = {"views": 2, "loss_changes": terms_on_two_views(), "padding_free": padding_free}
    trainer = build_trainer(tmp_path, **changes)
    with Questions() as questions:
        trainer.train_epoch()
    assert len(questions.asked) == of_lengths * len(trainer.train_loader) + 1


def test_a_misspelt_monitor_costs_no_epoch(tmp_path):
    trainer = build_trainer(tmp_path, monitor="val/aurocc")
    with pytest.raises(ValueError, match="must be a val/ metric, got val/aurocc .did you mean val/auroc"):
        trainer.fit()
    assert trainer.epoch == 0


def brief_loader(seed, batch_size=16):
    input_ids, yes = examples(64, seed)
    rows = TensorDataset(input_ids, torch.ones_like(input_ids), yes / 3)

    def collate(items):
        columns = (torch.stack(column) for column in zip(*items, strict=True))
        return dict(zip(("input_ids", "attention_mask", "labels"), columns, strict=True))

    return DataLoader(rows, batch_size=batch_size, shuffle=True, collate_fn=collate)


def test_the_snippet_of_the_brief_works_as_written():
    torch.manual_seed(0)
    config = {"learning_rate": 2e-4, "lambda_contrastive": 0.1, "batch_size": 16, "epochs": 2}
    trainer = ContrastiveTrainer(tiny_model(), brief_loader(0), brief_loader(1), torch.device("cpu"), config)
    assert {"total_loss", "bce_loss", "contrastive_loss"} <= trainer.train_epoch().keys()
    assert 0 <= trainer.evaluate()["macro_f1"] <= 1
    assert len(trainer.fit()) == 1  # one epoch is done already


@pytest.mark.parametrize(("config", "expected"), [({}, True), ({"padding_free": False}, False)])
def test_the_brief_config_can_ask_for_padding(config, expected):
    trainer = ContrastiveTrainer(tiny_model(), brief_loader(0), brief_loader(1), "cpu", config)
    assert trainer.model.padding_free is expected


def test_an_epoch_after_the_schedule_is_refused_instead_of_trained_at_rate_0():
    config = {"learning_rate": 2e-4, "lambda_contrastive": 0.1, "batch_size": 16, "epochs": 2}
    trainer = ContrastiveTrainer(tiny_model(), brief_loader(0), brief_loader(1), torch.device("cpu"), config)
    assert [trainer.train_epoch()["lr"] > 0, trainer.train_epoch()["lr"]] == [True, 0]
    weights = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    with pytest.raises(
        ValueError, match=r"^the schedule has ended after 2 epochs: to train longer, make the trainer with more epochs$"
    ):
        trainer.train_epoch()
    assert all(map(torch.equal, weights, trainer.model.parameters()))
    assert trainer.fit() == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"learningrate": 1e-3}, "did you mean learning_rate"),
        ({"lambda_contrastive": -0.1}, "lambda_contrastive must be >= 0, got -0.1"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "lr must be positive"),
    ],
)
def test_bad_values_in_the_brief_config_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        ContrastiveTrainer(tiny_model(), brief_loader(0), brief_loader(1), "cpu", config)


def test_labels_outside_0_to_1_are_refused():
    trainer = ContrastiveTrainer(tiny_model(), brief_loader(0), brief_loader(1), "cpu", {})
    batch = next(iter(brief_loader(0))) | {"labels": torch.full((16, 2), 3.0)}
    trainer.train_loader = [batch]
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.1, got 3 to 3"):
        trainer.train_epoch()


def test_two_trainers_with_other_precisions_in_one_process(tmp_path):
    build_trainer(tmp_path / "a", precision="fp32").train_epoch()
    epoch = build_trainer(tmp_path / "b", precision="bf16").train_epoch()
    assert np.isfinite(epoch["total_loss"])


def test_predictions_stand_in_the_order_of_the_split(tmp_path):
    trainer, data = build_trainer(tmp_path), VotedBatches(10, 1)
    in_order = trainer.predict(DataLoader(data, batch_size=10, collate_fn=data.collate))
    shuffled = trainer.predict(
        DataLoader(data, batch_sampler=[[7, 1, 9], [0, 2, 3, 8], [6, 5, 4]], collate_fn=data.collate)
    )
    np.testing.assert_array_equal(shuffled.yes_votes, in_order.yes_votes)
    np.testing.assert_allclose(shuffled.embeddings, in_order.embeddings, atol=1e-6)
    assert shuffled.probabilities.dtype == np.float32


def test_auto_is_bf16_on_a_cpu_with_instructions_for_it(tmp_path):
    info = Path("/proc/cpuinfo")
    has_bf16 = info.exists() and {"avx512_bf16", "amx_bf16"} & set(info.read_text().split())
    assert build_trainer(tmp_path, precision="auto").precision == ("bf16" if has_bf16 else "fp32")
    assert build_trainer(tmp_path, precision="fp32").precision == "fp32"
    assert build_trainer(tmp_path, precision="bf16").precision == "bf16"


def test_the_speed_of_an_epoch_counts_its_examples(tmp_path):
    for epoch in build_trainer(tmp_path, epochs=2).fit():
        assert epoch["train/examples_per_second"] * epoch["train/epoch_seconds"] == pytest.approx(96)


def test_a_validation_set_without_both_classes_is_refused_before_training(tmp_path):
    trainer = build_trainer(tmp_path, monitor="val/macro_f1")
    trainer.val_loader.dataset.yes_votes[:] = trainer.val_loader.dataset.num_votes
    with pytest.raises(ValueError, match="on which valid has both yes and no, found none: give valid more responses"):
        trainer.fit()


def test_what_is_not_worth_compiling_is_not_compiled(tmp_path):
    trainer = build_trainer(tmp_path, compile="auto")
    assert not trainer.compiled
    assert all(block._compiled_call_impl is None for block in trainer.model.encoder.encoder.layer)


def test_cuda_graphs_on_another_device_are_refused(tmp_path):
    with pytest.raises(ValueError, match="trainer.compile=graphs needs a CUDA device, got cpu; use false or auto"):
        build_trainer(tmp_path, compile="graphs")


@NEEDS_CUDA
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # of torch itself while it compiles
def test_steps_in_cuda_graphs_train_as_plain_ones(tmp_path):
    plain, graphs = (
        build_trainer(tmp_path / str(compile), epochs=3, dropout=0.0, device="cuda", compile=compile)
        for compile in (False, "graphs")
    )
    expected = losses_of(plain.fit())
    torch.testing.assert_close(torch.tensor(losses_of(graphs.fit())), torch.tensor(expected), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # of torch itself while it compiles
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_compiled_blocks_train_as_plain_ones_and_keep_their_names(tmp_path):
    plain, compiled = (
        build_trainer(tmp_path / name, epochs=1, dropout=0.0, compile=name == "compiled")
        for name in ("plain", "compiled")
    )
    assert all(block._compiled_call_impl is not None for block in compiled.model.encoder.encoder.layer)
    expected = losses_of(plain.fit())
    torch.testing.assert_close(torch.tensor(losses_of(compiled.fit())), torch.tensor(expected), rtol=1e-4, atol=1e-4)
    assert compiled.model.state_dict().keys() == plain.model.state_dict().keys()

from dataclasses import replace

import pytest

from contrastive_learning.training.plain_config import DEFAULTS


def test_a_warm_up_rises_linearly_to_one():
    settings = replace(DEFAULTS, lambda_warmup_epochs=2.0)
    assert [settings.lambda_scale(epochs) for epochs in (0, 0.5, 2, 3)] == [0, 0.25, 1, 1]
    assert settings.encoder_share(0) == 1


def test_the_temperature_reaches_its_end_with_the_last_epoch():
    """Cosine: half of the way is done at half of the time, sin^2(pi / 8) = 0.1464 of it at a quarter."""
    settings = replace(DEFAULTS, epochs=4, temperature_schedule="linear", temperature_end=0.5)
    assert [settings.temperature(0.1, epochs) for epochs in (0, 1, 4)] == pytest.approx([0.1, 0.2, 0.5])
    cosine = replace(settings, temperature_schedule="cosine")
    assert [cosine.temperature(0.1, epochs) for epochs in (0, 1, 2, 4)] == pytest.approx([0.1, 0.15858, 0.3, 0.5], 1e-4)
    assert DEFAULTS.temperature(0.07, 3) == 0.07


@pytest.mark.parametrize(("every", "due"), [(None, []), (20, [20, 40]), (21, [21, 42]), (32, []), (63, [])])
def test_the_last_report_of_an_epoch_is_at_its_end(every, due):
    """Of 63 steps, every 20: after 20, 40 and 63; every 21: after 21, 42 and 63."""
    settings = replace(DEFAULTS, report_every=every)
    assert [step for step in range(1, 64) if settings.report_within(step, 63) is not None] == due
    assert [settings.report_within(step, 63) for step in due] == list(range(1, len(due) + 1))
    assert settings.reports_per_epoch(63) == len(due) + 1


def test_an_epoch_without_a_report_within_it_is_no_silent_wish():
    with pytest.raises(ValueError, match=r"report_every must be at most 63, the optimizer steps of an epoch, got 64"):
        replace(DEFAULTS, report_every=64).reports_per_epoch(63)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"precision": "bf61"}, r"trainer\.precision must be one of auto, fp32, bf16, fp16; got bf61 .*mean bf16"),
        ({"direction": "up"}, r"trainer\.direction must be one of maximize, minimize; got up"),
        ({"accumulation_steps": 0}, r"trainer\.accumulation_steps must be at least 1, got 0"),
        ({"views": 3}, r"trainer\.views must be 1 or 2, got 3"),
        ({"patience": 0}, r"trainer\.patience must be at least 1, got 0"),
        ({"lambda_warmup_epochs": -1}, r"trainer\.lambda_warmup_epochs must be at least 0, got -1"),
        ({"max_grad_norm": 0.0}, r"trainer\.max_grad_norm must be positive, got 0\.0"),
        ({"temperature_schedule": "linear"}, r"linear needs a positive trainer\.temperature_end, got None"),
        ({"temperature_end": 0.1}, r"temperature_end has no effect with trainer\.temperature_schedule=constant"),
        ({"report_every": 0}, r"trainer\.report_every must be at least 1, got 0"),
        ({"report_every": 5, "monitor": "test/auroc"}, r"needs a trainer\.monitor on val/, got test/auroc"),
        ({"compile": "yes"}, r"trainer\.compile must be true, false, auto or graphs, got yes"),
        ({"padding_free": "false"}, r"trainer\.padding_free must be true, false or null, got false"),
        ({"compile": "graphs", "tokens_per_pass": 8}, r"compile=graphs needs batches of few shapes, each in one pass"),
        (
            {"compile": "graphs", "padding_free": True},
            r"leave trainer\.padding_free and trainer\.tokens_per_pass at null",
        ),
        ({"grad_cache_chunk": 8, "compile": True}, r"different dropout masks with and without a gradient"),
        ({"grad_cache_chunk": 8, "accumulation_steps": 2}, r"leave trainer\.accumulation_steps at 1, got 2"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        replace(DEFAULTS, **change)


@pytest.mark.parametrize("kind", ["cpu", "mps"])
def test_what_a_device_cannot_do_is_known_before_any_work(kind):
    settings = replace(DEFAULTS, compile="graphs")
    settings.check_device("cuda")
    with pytest.raises(ValueError, match=f"trainer.compile=graphs needs a CUDA device, got {kind}; use false or auto"):
        settings.check_device(kind)

"""The benchmarks run; their figures are for people."""

import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from support.commands import nightly
from support.commands import run as run_command

BENCHMARKS = Path(__file__).parent


def run(script, *arguments):
    return run_command(BENCHMARKS / script, *arguments, cwd=BENCHMARKS, timeout=500, check=True).stdout


@pytest.mark.slow
def test_training_throughput_prints_every_form():
    out = run("training_throughput.py", "--layers=1", "--hidden=32", "--examples=64", "--plain-steps=1", "--threads=1")
    rates = re.findall(r"^([abcd])\. .*?\s(\d+\.\d)\s", out, re.MULTILINE)
    trainers = ["b", "b"] if find_spec("datasets") else ["b"]
    assert [form for form, _ in rates] == ["a", *trainers, "c", "d", "d", "d"]
    assert all(float(rate) > 0 for _, rate in rates)
    assert re.search(r"contrastive term at batch 256: \d+\.\d+% of a step", out)


@nightly
@pytest.mark.slow
def test_padding_prints_each_form():
    out = run("padding.py", "--layers=1", "--hidden=32", "--examples=64", "--rounds=1", "--threads=1")
    rates = re.findall(r"^(padded|without padding|without, equally long) +(\d+\.\d+) ", out, re.MULTILINE)
    assert [form for form, _ in rates] == ["padded", "without padding", "without, equally long"]
    assert all(float(rate) > 0 for _, rate in rates)


@nightly
@pytest.mark.slow
def test_loss_curves_compare_each_form_with_the_padded_one():
    out = run("loss_curves.py", "--steps=20", "--seeds=2", "--threads=1", "data.train_examples=160")
    rows = re.findall(r"^(.{24}) +[\d.]+ +[\d.]+ +([\d.]+) +([+-][\d.]+)  (yes|no)$", out, re.MULTILINE)
    assert [name.strip() for name, *_ in rows][::2] == ["padded, fp32", "without padding, fp32"]
    assert rows[0][1:] == ("0.0000", "+0.0000", "yes")


@nightly
@pytest.mark.slow
def test_large_batch_prints_loss_and_memory():
    shape = ("--layers=1", "--hidden=32", "--batch-size=64", "--chunk=16", "--tokens=8", "--vocabulary=100")
    out = run("large_batch.py", *shape)
    assert re.search(r"contrastive loss \d+\.\d+, \d+\.\d+ s per step", out)
    assert float(re.search(r"^GB: .*?(\d+\.\d+)$", out, re.MULTILINE)[1]) > 0


def test_pruners_prints_each_pruner_and_promotion_costs_least():
    out = run("pruners.py", "--epochs=9", "--trials=9", "--seeds=2")
    shares = {name.strip(): float(share) for name, share in re.findall(r"^(.{24}) +([\d.]+)%", out, re.MULTILINE)}
    assert len(shares) == 12
    assert shares["no pruning"] == 100
    assert shares["in steps"] < shares["promotion, progressive"] <= shares["promotion"]
    assert shares["promotion"] < min(shares["median"], shares["hyperband"])


@nightly
@pytest.mark.slow
def test_large_data_is_read_once():
    out = run("large_data.py", "--dialogues=140")
    starts = re.findall(r"^(first start|second start|two at once) ", out, re.MULTILINE)
    assert starts == ["first start", "second start", "two at once", "two at once"]
    assert re.search(r"[\d,]+ training responses", out)


@nightly
@pytest.mark.slow
def test_the_long_form_costs_little_more_than_the_plain_form():
    """20,000 rows; CPU seconds, not wall time, and a wide margin, since a small file is read in a second."""
    out = run("long_form.py", "--rows=20000")
    figures = {line.split(" | ")[0]: line.split(" | ")[1:] for line in out.splitlines()[1:]}
    (plain_seconds, *_), (seconds, peak, before, responses) = figures["responses"], figures["judgements"]
    assert responses == "2,223.0"
    assert float(seconds) <= 2 * float(plain_seconds)
    assert float(peak.replace(",", "")) - float(before.replace(",", "")) < 200  # megabytes


@nightly
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux can a process be kept on two cores")
def test_waiting_threads_prints_each_run_of_each_policy():
    out = run("waiting_threads.py", "--responses=64", "--epochs=2")
    lines = re.findall(r"^(ACTIVE|PASSIVE|BOUNDED) +(one run|two at once) +([\d. ]+)$", out, re.MULTILINE)
    expected = [(policy, label) for policy in ("ACTIVE", "PASSIVE", "BOUNDED") for label in ("one run", "two at once")]
    assert [(policy, label) for policy, label, _ in lines] == expected
    assert [len(seconds.split()) for _, _, seconds in lines] == [1, 2] * 3


@nightly
@pytest.mark.slow
def test_scaling_prints_the_efficiency_of_each_form():
    out = run("scaling.py", "--responses=64", "--epochs=2")
    rates = re.findall(r"^(one run|2 runs at once), .+? +(\d+\.\d) +\d+%$", out, re.MULTILINE)
    assert [form for form, _ in rates] == ["one run", "one run", "2 runs at once", "one run"]
    assert all(float(rate) > 0 for _, rate in rates)


@nightly
@pytest.mark.slow
def test_serving_prints_each_way_to_ask_and_checks_bad_requests():
    out = run("serving.py", "--clients=4", "--requests=8", "--seconds=1")
    rates = re.findall(r"^(in one process, [\w ]+?|server, 4 clients, +\d rows each) +(\d+\.\d) ", out, re.MULTILINE)
    ways = ["one row per call", "at once"]
    assert [way for way, _ in rates[:2]] == [f"in one process, {way}" for way in ways]
    assert len(rates) == 5
    assert all(float(rate) > 0 for _, rate in rates)
    assert out.count("bad request: 400 ") == 4


@nightly
@pytest.mark.slow
def test_idle_prints_the_shares_of_a_run():
    sizes = [f"data.source.{name}_size=100" for name in ("train", "valid", "test", "test_ood")]
    out = run("idle.py", "--epochs=3", "trainer.device=cpu", *sizes)
    shares = re.findall(r"^(steps|between epochs|together) +\d+\.\d+ s, idle +(\d+\.\d+)%$", out, re.MULTILINE)
    assert [name for name, _ in shares] == ["steps", "between epochs", "together"]
    assert all(0 < float(share) < 100 for _, share in shares)

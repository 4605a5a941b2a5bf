"""What the verdict says of split responses, the held-out domain and τ, no stronger than the runs tell."""

import json

import pytest

from contrastive_app.report.effects import in_other_places, of_temperature
from contrastive_app.report.evidence import gather

from .test_verdict import BASE, shifted, verdict


def add(sweep, values):
    """Give each run more metrics. values: name -> from the value of the run's objective."""
    for file in sweep.folder.rglob("metrics.json"):
        content = json.loads(file.read_text())
        objective = content["metrics"]["val/macro_f1"]
        content["metrics"] |= {name: value(objective) for name, value in values.items()}
        file.write_text(json.dumps(content))


def test_split_responses_and_the_held_out_domain_have_a_sentence_each(sweep):
    """The AUROC rises by .05 exactly; what macro F1 gains out of the domain alternates around .001."""
    sweep.trial(0.07, 0.1, 0.9)
    outcome = sweep.outcome(sweep.confirmation(0, shifted(0.05), BASE))
    add(sweep, {"test/borderline/auroc": lambda value: value})
    noisy = dict(enumerate(shifted(0.001, noise=0.02)))
    for seed, value in noisy.items():
        for name, known in (("best", value), ("without", BASE[seed])):
            file = sweep.folder / f"{name}/{seed}/metrics.json"
            content = json.loads(file.read_text())
            content["metrics"]["test_ood/macro_f1"] = known
            file.write_text(json.dumps(content))
    assert list(in_other_places(gather(outcome))) == [
        "Split responses of test: AUROC of 2:1 against 1:2 votes is 0.0500 better than with λ = 0 "
        "(95 % interval +0.0500 to +0.0500).",
        "Held-out domain: no difference in macro F1 is shown (95 % interval −0.0169 to +0.0189).",
    ]
    assert verdict(outcome).elsewhere.startswith("Split responses of test: AUROC of 2:1 against 1:2 votes is")


def test_one_seed_has_no_interval_and_what_is_not_recorded_no_sentence(sweep):
    sweep.trial(0.07, 0.1, 0.8)
    sweep.trial(0.07, 0.0, 0.7)
    assert list(in_other_places(gather(sweep.outcome()))) == []
    add(sweep, {"val/borderline/auroc": lambda value: -value})
    assert list(in_other_places(gather(sweep.outcome()))) == [
        "Split responses of valid: AUROC of 2:1 against 1:2 votes is 0.1000 worse than with λ = 0, with too few seeds "
        "to tell."
    ]
    sweep.trials.pop()
    assert verdict(sweep.outcome()).elsewhere == ""


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0.8, 0.81, 0.79, 0.8, 0.81, 0.79), "no trend in val/macro_f1 or silhouette beyond chance"),
        ((0.8, 0.8, 0.8, 0.8, 0.8, 0.8), "no trend in val/macro_f1 or silhouette beyond chance"),
        ((0.7, 0.72, 0.74, 0.76, 0.78, 0.8), "val/macro_f1 rises with it, silhouette falls with it"),
    ],
)
def test_a_trend_over_the_temperature_is_told_from_chance(sweep, values, words):
    for index, value in enumerate(values):
        sweep.trial(0.05 + index / 100, 0.1 + index % 2, value, seeds=(0,))
    add(sweep, {"val/embedding/silhouette": lambda value: 1 - value})
    assert of_temperature(gather(sweep.outcome())) == f"τ from 0.05 to 0.1, 6 configurations: {words}."


def test_seeds_count_only_where_nothing_but_the_temperature_was_varied(sweep):
    sweep.trial(0.05, 0.1, 0.7, 0.71, 0.72, 0.7, 0.71)
    sweep.trial(0.1, 0.1, 0.8, 0.81, 0.82, 0.8, 0.81)
    assert "10 runs: val/macro_f1 rises with it." in of_temperature(gather(sweep.outcome()))
    sweep.trial(0.1, 0.2, 0.8, 0.81, 0.82, 0.8, 0.81)
    assert "3 configurations are too few to show a trend." in of_temperature(gather(sweep.outcome()))


def test_clusters_are_compared_with_lambda_0_which_has_no_temperature(sweep):
    sweep.trial(0.05, 0.1, 0.8)
    assert of_temperature(gather(sweep.outcome())) == ""
    sweep.trial(0.1, 0.1, 0.7)
    sweep.trial(0.2, 0.0, 0.5)
    add(sweep, {"val/embedding/silhouette": lambda value: value - 0.4})
    assert verdict(sweep.outcome()).temperature == (
        "τ from 0.05 to 0.1: 2 runs are too few to show a trend. "
        "With τ = 0.05, λ = 0.1 the silhouette on valid is 0.40, at λ = 0 0.10 (mean over criteria)."
    )

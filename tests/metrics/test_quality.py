import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import somersd
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from contrastive_learning.metrics import choose_thresholds, f1_scores, quality_metrics, reliability
from contrastive_learning.metrics.rated import f1_of_both
from contrastive_learning.metrics.table import METRICS

CRITERIA = ("polite", "specific")
DATA = Path(__file__).parents[3] / "shared" / "data"


def simulated(num_responses, seed=0, num_votes=3, num_criteria=2):
    """Votes of raters who say yes with chance pi; probabilities are noisy versions of pi."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(1, 2, (num_responses, num_criteria))
    pi, probabilities = (1 / (1 + np.exp(-x)) for x in (logit, logit + rng.normal(0, 1, logit.shape)))
    votes = np.full(logit.shape, num_votes)
    return probabilities, rng.binomial(votes, pi), votes, pi


def of_one(probabilities, yes_votes, num_votes=3, threshold=0.5):
    """Metrics of a single criterion "c" from flat lists."""
    probabilities, yes_votes = np.array(probabilities, dtype=float)[:, None], np.array(yes_votes)[:, None]
    num_votes = np.broadcast_to(np.reshape(num_votes, (-1, 1)), yes_votes.shape)
    return quality_metrics(probabilities, yes_votes, num_votes, ["c"], [threshold])


def threshold_of_one(probabilities, yes_votes, num_votes=3):
    yes_votes = np.array(yes_votes)[:, None]
    return choose_thresholds(np.array(probabilities)[:, None], yes_votes, np.full_like(yes_votes, num_votes))[0]


def test_agrees_with_scikit_learn_and_scipy():
    probabilities, yes_votes, num_votes, _ = simulated(200)
    probabilities = probabilities.round(2)  # with ties
    metrics = quality_metrics(probabilities, yes_votes, num_votes, CRITERIA, [0.6, 0.7])
    for column, (criterion, threshold) in enumerate(zip(CRITERIA, (0.6, 0.7), strict=True)):
        p, yes = probabilities[:, column], yes_votes[:, column] >= 2
        f1_no, f1_yes = f1_score(yes, p > threshold, labels=[0, 1], average=None)
        expected = {
            "f1": (f1_no + f1_yes) / 2,
            "f1_yes": f1_yes,
            "f1_no": f1_no,
            "auroc": roc_auc_score(yes, p),
            "ap_yes": average_precision_score(yes, p),
            "ap_no": average_precision_score(~yes, 1 - p),
            "rank_agreement": somersd(yes_votes[:, column], p).statistic,
        }
        assert {name: metrics[f"{name}/{criterion}"] for name in expected} == pytest.approx(expected)
    for mean, name in (("macro_f1", "f1"), ("auroc", "auroc"), ("ap_no", "ap_no"), ("brier", "brier"), ("ece", "ece")):
        assert metrics[mean] == pytest.approx(np.mean([metrics[f"{name}/{criterion}"] for criterion in CRITERIA]))


@pytest.mark.parametrize("decimals", [0, 1, 2, 15])
def test_average_precision_is_that_of_scikit_learn_to_the_last_digits(decimals):
    """With many ties, down to two scores for all, and none."""
    p, rng = simulated(200)[0][:, 0].round(decimals), np.random.default_rng(1)
    for share in (0.02, 0.5, 0.98):
        yes = rng.permutation(np.arange(200) < 200 * share)
        metrics = of_one(p, 3 * yes)
        expected = [average_precision_score(yes, p), average_precision_score(~yes, -p)]
        assert [metrics["ap_yes/c"], metrics["ap_no/c"]] == pytest.approx(expected, rel=0, abs=1e-12)


def test_every_metric_of_the_table_is_reported_and_better_for_a_better_model():
    probabilities, yes_votes, num_votes, pi = simulated(400, num_votes=5)
    good, poor = (quality_metrics(p, yes_votes, num_votes, CRITERIA, [0.5, 0.5]) for p in (pi, 1 - probabilities))
    for metric in METRICS:
        names = [metric.summary] if metric.summary else []
        names += [f"{metric.per_criterion}/{criterion}" for criterion in CRITERIA] if metric.per_criterion else []
        assert names
        if metric.summary == "borderline/detection_auroc":
            continue  # 1 - p is as far from 0.5 as p
        for name in names:
            assert good[name] > poor[name] if metric.direction == "maximize" else good[name] < poor[name], name
    assert all(metric.summary for metric in METRICS if metric.label or metric.in_results)


def test_auroc_of_split_votes_compares_majorities_and_leaves_ties_out():
    """2:1 and 1:2 only: of (.7, .4) against (.5, .1), 3 of 4 pairs are in order; the tie and the unanimous are left."""
    metrics = of_one([0.7, 0.4, 0.5, 0.1, 0.95, 0.9], [2, 2, 1, 1, 1, 3], [3, 3, 3, 3, 2, 3])
    assert metrics["borderline/auroc"] == pytest.approx(3 / 4)
    assert "borderline/auroc" not in of_one([0.7, 0.4], [2, 2])


def test_a_judge_that_says_half_has_the_brier_score_that_is_reported_beside():
    metrics = of_one([0.5] * 4, [2, 1, 3, 2], [3, 3, 3, 4])
    assert metrics["borderline/brier_of_half"] == pytest.approx(metrics["borderline/brier"])


def test_f1_of_a_constant_prediction():
    """All yes on y yes of n: F1(yes) = 2y / (n + y), F1(no) = 0; 8 of 10 gives 16 / 18, halved 4 / 9."""
    metrics = of_one([0.9] * 10, [3] * 8 + [0] * 2)
    assert metrics["f1_yes/c"] == pytest.approx(8 / 9)
    assert metrics["f1_no/c"] == 0
    assert metrics["macro_f1"] == metrics["macro_f1_at_half"] == pytest.approx(4 / 9)
    assert metrics["auroc"] == 0.5
    assert metrics["rank_agreement"] == 0


def read_votes(path):
    rows = [json.loads(line)["votes"] for line in path.read_text(encoding="utf-8").splitlines()]
    votes = {criterion: [row.get(criterion, []) for row in rows] for criterion in rows[0]}
    return (np.array([[count(cell) for cell in column] for column in votes.values()]).T for count in (sum, len))


@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets for checks are not here")
@pytest.mark.parametrize(
    ("data_set", "test", "test_ood"),
    [("square_ood", 0.458, 0.433), ("klue_nli", 0.4, 0.4), ("convabuse", 0.469, 0.490), ("expl_quality", 0.382, 0.378)],
)
def test_the_majority_class_scores_as_published_with_the_data(data_set, test, test_ood):
    yes_votes, num_votes = read_votes(DATA / data_set / "train.jsonl")
    majority = 2 * np.sum(2 * yes_votes > num_votes, axis=0) > np.sum(num_votes > 0, axis=0)
    for part, expected in (("test", test), ("test_ood", test_ood)):
        yes_votes, num_votes = read_votes(DATA / data_set / f"{part}.jsonl")
        probabilities = np.broadcast_to(majority.astype(float), yes_votes.shape)
        criteria = [str(number) for number in range(len(majority))]
        metrics = quality_metrics(probabilities, yes_votes, num_votes, criteria, np.full(len(majority), 0.5))
        assert metrics["macro_f1"] == pytest.approx(expected, abs=6e-4)


def test_a_tie_is_a_no():
    assert of_one([0.9, 0.1], [2, 2], [2, 4])["macro_f1"] == 1


def test_a_criterion_with_one_class_counts_only_where_classes_do_not_matter():
    probabilities, yes_votes, num_votes, _ = simulated(50)
    yes_votes[:, 1] = 3
    metrics = quality_metrics(probabilities, yes_votes, num_votes, CRITERIA, [0.5, 0.5])
    assert metrics["criteria_with_both_classes"] == 1
    assert metrics["macro_f1"] == metrics["f1/polite"]
    left_out = {f"{name}/specific" for name in ("f1", "f1_yes", "f1_no", "auroc", "ap_yes", "ap_no", "rank_agreement")}
    assert not left_out & metrics.keys()
    assert {"brier/specific", "ece/specific"} <= metrics.keys()


@pytest.mark.parametrize(
    ("chance", "floor"),
    [(0.5, 0.083), (0.7, 0.070), (0.9, 0.030), (0.95, 0.016)],
)
def test_corrected_brier_of_a_perfect_predictor_is_zero(chance, floor):
    """k of 3 votes has variance 3 pi (1-pi), so (pi - k/3)^2 is pi (1-pi) / 3 on average: the raw floor."""
    yes_votes = np.random.default_rng(0).binomial(3, chance, (40_000, 1))
    probabilities, num_votes = np.full(yes_votes.shape, chance), np.full(yes_votes.shape, 3)
    raw = np.mean((probabilities - yes_votes / 3) ** 2)
    corrected = quality_metrics(probabilities, yes_votes, num_votes, ["c"], [0.5])["brier"]
    assert raw == pytest.approx(floor, abs=1e-3)
    assert corrected == pytest.approx(0, abs=1.5e-3)


def test_corrected_brier_of_mixed_vote_counts_is_the_error_of_the_probabilities():
    rng = np.random.default_rng(1)
    pi = rng.uniform(0.2, 0.9, (40_000, 1))
    num_votes = rng.integers(1, 6, pi.shape)
    probabilities, yes_votes = pi + 0.1, rng.binomial(num_votes, pi)
    brier = quality_metrics(probabilities, yes_votes, num_votes, ["c"], [0.5])["brier"]
    assert brier == pytest.approx(0.01, abs=2e-3)


def test_brier_of_single_votes_is_the_plain_brier_score():
    """(0.1^2 + 0.4^2) / 2 = 0.085; beside a response with more votes, single votes do not count."""
    assert of_one([0.9, 0.4], [1, 0], 1)["brier"] == pytest.approx(0.085)
    assert of_one([0.9, 0.4, 0.8], [1, 0, 2], [1, 1, 2])["brier"] == pytest.approx(0.04)


def test_labels_in_0_to_1_work_like_votes():
    """A soft label 2/3 with one vote: BCE above its entropy is 0 at p = 2/3."""
    metrics = of_one([2 / 3, 2 / 3], np.array([2 / 3, 2 / 3], dtype=np.float32), 1)
    assert metrics["excess_bce"] == pytest.approx(0, abs=1e-6)
    assert metrics["brier"] == pytest.approx(0, abs=1e-6)


def test_shares_rounded_by_fp32_are_the_same_votes():
    probabilities, yes_votes, num_votes, _ = simulated(60, num_votes=7)
    rounded = (yes_votes / np.float32(7)).astype(np.float32) * np.float32(7)
    assert quality_metrics(probabilities, yes_votes, num_votes, CRITERIA, [0.5, 0.5]) == quality_metrics(
        probabilities, rounded, num_votes, CRITERIA, [0.5, 0.5]
    )


def test_excess_bce_is_a_divergence_and_finite_for_saturated_probabilities():
    """KL(1/2 || 1/4) = ln 2 - (ln 3) / 2; a certain "yes" against 3 of 3 costs nothing, against 0 of 3 -ln 1e-7."""
    assert of_one([0.25], [1], 2)["excess_bce"] == pytest.approx(np.log(2) - np.log(3) / 2)
    assert of_one([1.0], [3])["excess_bce"] == pytest.approx(0, abs=1e-6)
    assert of_one([1.0], [0])["excess_bce"] == pytest.approx(-np.log(1e-7))


def test_ece_without_noise_is_the_gap():
    """5 responses share one bin and deviate equally, so there is no noise to take off: |0.6 - 1| = 0.4."""
    assert of_one([0.6] * 5, [3] * 5)["ece"] == pytest.approx(0.4)


@pytest.mark.parametrize(("shift", "gap"), [(0.0, 0.0), (0.1, 0.1)])
def test_ece_finds_the_gap_through_the_noise_of_votes(shift, gap):
    rng = np.random.default_rng(2)
    pi = rng.uniform(0.1, 0.9, (600, 9))
    num_votes = np.full(pi.shape, 3)
    criteria = [f"c{number}" for number in range(9)]
    metrics = quality_metrics(pi + shift, rng.binomial(num_votes, pi), num_votes, criteria, np.full(9, 0.5))
    assert metrics["ece"] == pytest.approx(gap, abs=0.015)


def test_borderline_metrics_see_only_split_votes():
    """Split: p .6 with 2 of 3 and p .5 with 1 of 3. Brier (.0667^2 + .1667^2) / 2; both are closest to 0.5."""
    metrics = of_one([0.95, 0.6, 0.5, 0.05], [3, 2, 1, 0])
    assert metrics["borderline/share"] == 0.5
    assert metrics["borderline/brier"] == pytest.approx(((0.6 - 2 / 3) ** 2 + (0.5 - 1 / 3) ** 2) / 2)
    assert metrics["borderline/macro_f1"] == 1
    assert metrics["borderline/detection_auroc"] == 1


def test_mean_probabilities_by_votes_use_the_commonest_number_of_votes():
    metrics = of_one([0.1, 0.2, 0.3, 0.5, 0.9], [0, 1, 1, 3, 2], [3, 3, 3, 3, 2])
    means = {name: value for name, value in metrics.items() if name.startswith("mean_probability")}
    assert means == pytest.approx(
        {
            "mean_probability/votes_0_of_3": 0.1,
            "mean_probability/votes_1_of_3": 0.25,
            "mean_probability/votes_3_of_3": 0.5,
        }
    )
    assert metrics["votes_in_order"] == 1
    assert of_one([0.1, 0.3, 0.2], [0, 1, 2])["votes_in_order"] == 0


def test_reliability_pools_everything_judged():
    probabilities, num_votes = np.array([[0.1, 0.2], [0.8, np.nan]]), np.array([[3, 3], [3, 0]])
    curve = reliability(probabilities, np.array([[0, 1], [3, 0]]), num_votes, bins=2)
    np.testing.assert_allclose(curve.mean_probability, [0.15, 0.8])
    np.testing.assert_allclose(curve.vote_share, [1 / 6, 1])
    assert curve.size.tolist() == [2, 1]
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        reliability(probabilities, num_votes, num_votes, bins=0)


def test_a_threshold_separates_separable_classes_in_the_middle():
    assert threshold_of_one([0.1, 0.2, 0.6, 0.9], [0, 1, 2, 3]) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("probabilities", "yes_votes"),
    [([0.1, 0.9], [3, 3]), ([0.1, 0.9], [0, 0]), ([0.3, 0.3], [0, 3]), ([0.3], [3]), ([], [])],
)
def test_a_threshold_stays_at_half_where_nothing_can_be_chosen(probabilities, yes_votes):
    assert threshold_of_one(probabilities, yes_votes) == 0.5


def test_a_threshold_is_near_the_best_on_a_large_set():
    probabilities, yes_votes, num_votes, _ = simulated(20_000, num_criteria=1)
    threshold = choose_thresholds(probabilities, yes_votes, num_votes)[0]
    p, yes = probabilities[:, 0], yes_votes[:, 0] >= 2
    best = max(np.mean(f1_of_both(yes, p > cut)) for cut in np.linspace(0.01, 0.99, 99))
    assert np.mean(f1_of_both(yes, p > threshold)) > best - 0.002


def test_thresholds_of_small_sets_do_better_on_new_data_than_the_best_cut():
    p_new, yes_new, _, _ = simulated(20_000, seed=1, num_criteria=1)
    p_new, yes_new = p_new[:, 0], yes_new[:, 0] >= 2
    chosen, best = [], []
    for seed in range(40):
        p, yes_votes, num_votes, _ = simulated(50, seed=100 + seed, num_criteria=1)
        chosen.append(np.mean(f1_of_both(yes_new, p_new > choose_thresholds(p, yes_votes, num_votes)[0])))
        yes, cuts = yes_votes[:, 0] >= 2, np.sort(p[:, 0])
        cuts = (cuts[:-1] + cuts[1:]) / 2
        cut = max(cuts, key=lambda cut: np.mean(f1_of_both(yes, p[:, 0] > cut)))
        best.append(np.mean(f1_of_both(yes_new, p_new > cut)))
    assert np.mean(chosen) > np.mean(best) + 0.005


@st.composite
def rated(draw, num_criteria=2):
    shape = (draw(st.integers(0, 12)), num_criteria)
    num_votes = draw(hnp.arrays(int, shape, elements=st.integers(0, 4)))
    yes_votes = np.minimum(draw(hnp.arrays(int, shape, elements=st.integers(0, 4))), num_votes)
    levels = st.integers(0, 8).map(lambda level: level / 8)
    return draw(hnp.arrays(float, shape, elements=levels)), yes_votes, num_votes


@given(rated(), st.sampled_from([0.0, 0.7, 5.0, np.nan, np.inf]))
def test_missing_votes_never_change_results(data, anything):
    probabilities, yes_votes, num_votes = data
    changed = np.where(num_votes > 0, probabilities, anything)
    assert choose_thresholds(*data).tolist() == choose_thresholds(changed, yes_votes, num_votes).tolist()
    expected = quality_metrics(*data, CRITERIA, [0.5, 0.3])
    assert quality_metrics(changed, yes_votes, num_votes, CRITERIA, [0.5, 0.3]) == expected
    assert np.isfinite(list(expected.values())).all()


@given(rated(), st.randoms(use_true_random=False))
def test_the_order_of_responses_does_not_matter(data, random):
    order = random.sample(range(len(data[0])), len(data[0]))
    permuted = [values[order] for values in data]
    np.testing.assert_allclose(choose_thresholds(*permuted), choose_thresholds(*data), rtol=1e-9)
    assert quality_metrics(*permuted, CRITERIA, [0.5, 0.3]) == pytest.approx(
        quality_metrics(*data, CRITERIA, [0.5, 0.3]), abs=1e-7
    )


@given(rated())
def test_the_votes_alone_decide_the_keys(data):
    _, yes_votes, num_votes = data
    constant = np.full(yes_votes.shape, 0.25)
    assert list(quality_metrics(*data, CRITERIA, [0.5, 0.3])) == list(
        quality_metrics(constant, yes_votes, num_votes, CRITERIA, [0.9, 0.9])
    )


def test_nothing_judged_gives_no_metrics():
    nothing = np.zeros((3, 2), dtype=int)
    assert quality_metrics(nothing / 1, nothing, nothing, CRITERIA, [0.5, 0.5]) == {"criteria_with_both_classes": 0}
    assert choose_thresholds(nothing / 1, nothing, nothing).tolist() == [0.5, 0.5]
    assert len(reliability(nothing / 1, nothing, nothing).size) == 0


@pytest.mark.parametrize(
    ("probability", "yes", "num", "message"),
    [
        (np.nan, 1, 3, "probabilities must lie in 0..1, got nan"),
        (1.5, 1, 3, "probabilities must lie in 0..1, got 1.5"),
        (0.5, 4, 3, "yes_votes must lie in 0..num_votes, got 4 of 3"),
    ],
)
def test_impossible_values_are_refused(probability, yes, num, message):
    with pytest.raises(ValueError, match=message):
        of_one([probability], [yes], num)


def test_shapes_that_do_not_match_are_refused():
    votes = np.ones((4, 2), dtype=int)
    with pytest.raises(ValueError, match="must be"):
        choose_thresholds(np.ones(4), votes, votes)
    with pytest.raises(ValueError, match="as many criteria each, got 2, 1 and 2"):
        quality_metrics(votes, votes, votes, ["c"], [0.5, 0.5])


@settings(max_examples=50)
@given(rated())
def test_f1_by_itself_is_that_of_all_metrics(data):
    probabilities, yes_votes, num_votes = data
    names = [str(index) for index in range(probabilities.shape[1])]
    thresholds = [0.4] * len(names)
    every = quality_metrics(probabilities, yes_votes, num_votes, names, thresholds)
    expected = [every.get(f"f1/{name}", np.nan) for name in names]
    np.testing.assert_allclose(f1_scores(probabilities, yes_votes, num_votes, thresholds), expected)

import numpy as np
import pytest

from contrastive_learning.metrics.evaluation import FEW_JUDGED, Evaluation


def evaluation(num_responses, *, num_judged):
    """A judge that is right in four of five cases. All responses are judged on the first of two criteria."""
    draw = np.random.default_rng(0)
    yes = draw.random((num_responses, 2)) < 0.5
    right = draw.random((num_responses, 2)) < 0.8
    num_votes = np.stack([np.full(num_responses, 3), 3 * (np.arange(num_responses) < num_judged)], axis=1)
    unused = np.ones((num_responses, 4))
    return Evaluation(np.where(yes == right, 0.9, 0.1), unused, unused, 3 * yes * (num_votes > 0), num_votes, "shared")


def test_only_figures_of_few_responses_have_an_interval():
    assert evaluation(FEW_JUDGED, num_judged=FEW_JUDGED).f1_intervals("ab", evaluation(50, num_judged=50)) == {}
    few = evaluation(FEW_JUDGED, num_judged=FEW_JUDGED - 1).f1_intervals("ab", evaluation(50, num_judged=50))
    assert few.keys() == {"f1/b", "macro_f1"}


def test_an_interval_holds_the_figure_and_is_wider_for_fewer_responses():
    widths = []
    for size in (20, 80):
        part = evaluation(size, num_judged=size)
        metrics, intervals = part.metrics("ab", part), part.f1_intervals("ab", part)
        assert intervals.keys() == {"f1/a", "f1/b", "macro_f1"}
        assert all(low < metrics[name] < high for name, (low, high) in intervals.items())
        widths.append(np.mean([high - low for low, high in intervals.values()]))
    assert widths[0] > 1.5 * widths[1]


def test_without_a_figure_there_is_no_interval():
    part = evaluation(20, num_judged=0)
    assert part.f1_intervals("ab", part).keys() == {"f1/a", "macro_f1"}
    assert part.metrics("ab", part)["macro_f1"] == pytest.approx(part.metrics("ab", part)["f1/a"])

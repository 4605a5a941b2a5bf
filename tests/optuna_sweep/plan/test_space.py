"""What the command line's overrides are as a space, and back."""

import math

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from optuna_sweep.errors import SweepError
from optuna_sweep.plan.space import parse_space, quote, text


def space(*arguments, params=None, search_space=None):
    loader = ConfigLoaderImpl(create_config_search_path(None))
    return parse_space(params or {}, search_space or {}, list(arguments), loader)


@pytest.mark.parametrize(
    ("override", "distribution", "values"),
    [
        ("x=1,2", CategoricalDistribution([1, 2]), [1, 2]),
        ("x=choice(a,b)", CategoricalDistribution(["a", "b"]), ["a", "b"]),
        ("x=2,1,2", CategoricalDistribution([2, 1]), [2, 1]),
        ("x=range(1,7,2)", IntDistribution(1, 5, step=2), [1, 3, 5]),
        ("x=range(0.1,0.4,0.1)", FloatDistribution(0.1, 0.3, step=0.1), [0.1, 0.2, 0.3]),
        ("x=range(3,0,-1)", CategoricalDistribution([3, 2, 1]), [3, 2, 1]),
        ("x=interval(0.1,1)", FloatDistribution(0.1, 1.0), None),
        ("x=tag(log,interval(0.1,1))", FloatDistribution(0.1, 1.0, log=True), None),
        ("x=int(interval(1,3))", IntDistribution(1, 3), [1, 2, 3]),
        ("x=int(interval(1,100000))", IntDistribution(1, 100_000), None),
    ],
)
def test_an_override_is_an_axis(override, distribution, values):
    axis = space(override).axes["x"]
    assert axis.distribution == distribution
    assert (None if axis.values is None else list(axis.values)) == values


def test_the_last_of_params_and_command_line_wins_and_may_fix_a_key():
    params = {"x": "interval(0, 1)", "y": "1,2", "z": 3, "w": ["a", 1]}
    found = space("y=5", "x=7,8", "+v=1", "~u", params=params)
    assert list(found.axes) == ["x"]
    assert list(found.axes["x"].values) == [7, 8]
    assert sorted(found.fixed) == ["+v=1", "w=[a,1]", "y=5", "z=3", "~u"]


def test_the_older_form_of_params():
    found = space(
        search_space={
            "x": {"type": "float", "low": 0, "high": 1, "step": 0.25},
            "n": {"type": "int", "low": 1, "high": 8, "log": True},
            "c": {"type": "categorical", "choices": ["a,b", None, 1]},
        }
    )
    assert found.distributions == {
        "x": FloatDistribution(0, 1, step=0.25),
        "n": IntDistribution(1, 8, log=True),
        "c": CategoricalDistribution(["a,b", None, 1]),
    }
    assert found.axes["c"].override("a,b") == "c='a,b'"
    with pytest.raises(SweepError, match=r"search_space.x.type must be one of int, float, categorical, got other"):
        space(search_space={"x": {"type": "other"}})
    with pytest.raises(SweepError, match=r"search_space.x must be \{type, low, high\} or"):
        space(search_space={"x": [1, 2]})


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("x=interval(2,1)", "x: an interval goes up; got 2.0 to 1.0"),
        ("x=tag(log,interval(0,1))", "an interval goes up, above 0 with a log scale; got 0.0 to 1.0"),
        ("x=range(1,1)", "x=range\\(1,1\\): there is nothing to sweep over"),
    ],
)
def test_what_is_no_space_is_refused(override, message):
    with pytest.raises(SweepError, match=message):
        space(override)


def test_points_are_the_product_with_the_last_axis_fastest():
    found = space("x=1,2", "y=range(0,3)", "seed=7")
    assert found.size == 6
    assert found.is_discrete
    assert found.is_listed
    assert list(found.points()) == [{"x": x, "y": y} for x in (1, 2) for y in (0, 1, 2)]
    assert found.first == {"x": 1, "y": 0}
    assert found.overrides({"x": 2, "y": 1}) == ["seed=7", "x=2", "y=1"]


def test_few_integers_are_listed_and_intervals_are_infinite():
    few, infinite = space("x=int(interval(1,3))", "y=1,2"), space("x=interval(0,1)", "y=1,2")
    assert (few.size, few.is_discrete, few.is_listed) == (6, False, True)
    assert (infinite.size, infinite.is_discrete, infinite.is_listed) == (math.inf, False, False)
    assert infinite.first == {"x": 0.0, "y": 1}


def test_a_space_without_axes_is_one_point():
    assert (space("seed=7").size, list(space("seed=7").points())) == (1, [{}])


def test_a_value_that_a_sampler_misses_by_a_binary_fraction_has_its_exact_text():
    assert space("x=range(0.1,0.6,0.1)").axes["x"].override(0.1 + 0.2) == "x=0.3"
    assert space("x=interval(0,1)").axes["x"].override(0.1 + 0.2) == f"x={0.1 + 0.2!r}"


def test_groups_and_added_keys_keep_their_marks_in_overrides():
    found = space("+x=1,2", "loss@train.loss=a,b")
    assert found.overrides({"x": 1, "loss@train.loss": "b"}) == ["+x=1", "loss@train.loss=b"]
    assert found.overrides({"w": 0.5}) == ["w=0.5"]  # of a custom search space


def test_starting_points_must_be_inside():
    found = space("x=interval(0,1)", "c=a,b", "y=5")
    found.check_point({"x": 0.5, "c": "a"})
    found.check_point({"x": 1})
    for point, message in {
        ("x", 2): r"enqueue: x=2 is outside 0.0 to 1.0",
        ("x", True): r"enqueue: x=True is outside",
        ("c", "d"): r"enqueue: c=d is outside a, b",
        ("y", 5): r"enqueue: y is not swept; swept are x, c",
    }.items():
        with pytest.raises(SweepError, match=message):
            found.check_point(dict([point]))
    assert found.without_fixed({"x": 0.5, "y": 6, "typo": 1}) == {"x": 0.5, "typo": 1}


def test_a_space_in_words():
    found = space("x=tag(log,interval(0.1,1))", "n=int(interval(1,9))", "r=range(0,9,3)", "c=a,'b c'")
    assert found.describe() == {"x": "0.1 to 1.0, log", "n": "integer 1 to 9", "r": "0, 3, 6", "c": "a, 'b c'"}


@pytest.mark.parametrize(
    "value", [None, True, 1, 0.1, 1e-05, "a,b", "it's", "c=d", "back\\slash", "end\\", "\\'", "null"]
)
def test_a_value_comes_back_through_hydra_as_it_was(value):
    parsed = OverridesParser.create().parse_override(f"x={text(value)}").value()
    parsed = parsed.text if hasattr(parsed, "text") else parsed
    assert parsed == value
    assert type(parsed) is type(value)


def test_quotes():
    assert quote("a b") == "'a b'"
    assert quote("it's") == r"'it\'s'"

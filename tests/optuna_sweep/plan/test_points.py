"""Points are composed and checked before the first trial."""

import pytest
from hydra.utils import instantiate

from optuna_sweep.errors import SweepError
from optuna_sweep.plan.points import points_to_check
from support.plans import planned

CHECK = f"hydra.sweeper.check={__name__}.check"
seen = []


class Positive:
    def __init__(self, x):
        if x <= 0:
            raise ValueError(f"x must be positive, got {x}")


def check(config):
    seen.append((config.x, config.y))
    instantiate({"_target_": f"{__name__}.Positive", "x": config.x})


@pytest.fixture(autouse=True)
def forget(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen.clear()


def test_every_point_of_a_grid_is_checked_with_its_own_values():
    with planned("x=1,2", "y=3,4,5", CHECK):
        assert seen == [(x, y) for x in (1, 2) for y in (3, 4, 5)]


def test_of_a_search_the_corners_and_the_starting_points_are_checked():
    enqueue = "hydra.sweeper.enqueue=[{x:0.5}]"
    with planned("x=interval(0.25,1)", "y=2,3", "hydra.sweeper.n_trials=3", enqueue, CHECK) as (plan, _):
        assert seen == [(0.25, 2), (1.0, 3), (0.5, 2), (0.25, 3)]
        assert len(points_to_check(plan.space, None, plan.settings.enqueue)) == 4


def test_a_bad_point_is_named_with_the_innermost_reason():
    message = r"^2 of 4 points are refused: x=-1 y=3: x must be positive, got -1 \(2 such points\)$"
    with pytest.raises(SweepError, match=message), planned("x=1,-1", "y=3,4", CHECK):
        pass


def test_every_reason_is_named_once():
    message = r"^2 of 3 points are refused: x=-1: x must be positive, got -1; x=-2: x must be positive, got -2$"
    with pytest.raises(SweepError, match=message), planned("x=1,-1,-2", CHECK):
        pass
    message = r"; x=-5: x must be positive, got -5; and 2 more reasons$"
    with pytest.raises(SweepError, match=message), planned("x=1,-1,-2,-3,-4,-5,-6,-7", CHECK):
        pass


def test_what_every_point_shares_is_named_without_a_point():
    with pytest.raises(Exception, match=r"x must be positive, got -1") as caught, planned("x=-1", "y=3,4", CHECK):
        pass
    assert "refused" not in str(caught.value)

import math

import pytest

from optuna_sweep.errors import SweepError
from optuna_sweep.plan.objective import Objective, objective_of

LOSS = Objective(("loss",), ("minimize",))
PAIR = Objective(("loss", "f1"), ("minimize", "maximize"))


@pytest.mark.parametrize(
    ("objective", "returned", "values"),
    [
        (LOSS, 1, [1.0]),
        (LOSS, "1.5", [1.5]),
        (LOSS, [1], [1.0]),
        (LOSS, {"loss": 0.5, "other": None}, [0.5]),
        (PAIR, [1, 2], [1.0, 2.0]),
        (PAIR, {"f1": 2, "loss": 1}, [1.0, 2.0]),
    ],
)
def test_values_are_read_by_position_or_by_name(objective, returned, values):
    assert objective.values(returned) == values


@pytest.mark.parametrize(
    ("objective", "returned", "message"),
    [
        (LOSS, None, "the task must return a number, got None"),
        (LOSS, "good", "the task must return a number, got 'good'"),
        (LOSS, {"other": 1}, "the task returned no loss; it has other"),
        (LOSS, [1, 2], "the task returned 2 values for 1 objectives"),
        (PAIR, 1, "the task returned 1 values for 2 objectives"),
        (LOSS, math.nan, "the objective is nan"),
        (PAIR, [1, -math.inf], "the objective is -inf"),
    ],
)
def test_what_is_no_objective_value_says_why(objective, returned, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        objective.values(returned)


def test_each_metric_needs_a_direction():
    assert objective_of("minimize", "loss") == LOSS
    assert objective_of(["minimize", "maximize"], ["loss", "f1"]) == PAIR
    assert objective_of("maximize", None).metrics == ("value",)
    assert objective_of(["minimize", "minimize"], None).metrics == ("value_0", "value_1")
    with pytest.raises(SweepError, match="direction must be minimize or maximize, got up"):
        objective_of("up", None)
    with pytest.raises(SweepError, match=r"2 metrics \(a, b\) need as many directions, got 1"):
        objective_of("minimize", ["a", "b"])

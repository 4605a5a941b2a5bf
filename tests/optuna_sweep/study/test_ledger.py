import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import create_trial

from optuna_sweep.study.ledger import open_ledger, open_patiently
from optuna_sweep.study.storage import storage_lock

OPTIONS = CategoricalDistribution([1, 2])


@pytest.fixture(params=["minimize", "maximize"])
def ledger(request, tmp_path):
    path = str(tmp_path / "study.journal")
    return open_ledger(
        open_patiently(path, 1.0), storage_lock(path), "s", [request.param], {}, optuna.pruners.NopPruner()
    )


def add(ledger, value, option=2, violation=None):
    attributes = {} if violation is None else {"constraints": [violation]}
    params, distributions = {"option": option}, {"option": OPTIONS}
    ledger.study.add_trial(
        create_trial(value=value, params=params, distributions=distributions, system_attrs=attributes)
    )


@pytest.mark.parametrize("violations", [(None, None, None), (1.0, 0.0, 1.0), (0.0, 1.0, 2.0), (1.0, 2.0, 3.0)])
def test_the_best_is_the_first_of_the_ranking(ledger, violations):
    assert ledger.best() is None
    for value in (0.2, 0.9, 0.1, 0.9, 0.1):
        add(ledger, value)
    for value, violation in zip((0.95, 0.05, 0.5), violations, strict=True):
        add(ledger, value, violation=violation)
    assert ledger.best() == ledger.ranked()[0]


def test_a_result_is_reused_for_the_same_numbers_only(ledger):
    add(ledger, 0.4, option=2)
    add(ledger, 0.5, option=1)
    assert ledger.find_complete({"option": 1.0}).number == 1
    assert ledger.find_complete({"option": True}) is None
    assert ledger.find_complete({"option": 1, "other": 1}) is None

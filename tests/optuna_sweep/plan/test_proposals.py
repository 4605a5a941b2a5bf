"""What a sampler is shown when it is asked for a point."""

import math

import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from optuna_sweep.plan.proposals import learns_from_values, propose
from optuna_sweep.plan.space import Axis, Space
from optuna_sweep.rungs import Rungs

SPACE = Space({"x": Axis("x", FloatDistribution(0.0, 1.0), None)}, ())


class Attentive(optuna.samplers.RandomSampler):
    """Notes (x, state, value) of each trial that it is shown."""

    def sample_independent(self, study, trial, name, distribution):
        others = [other for other in study.get_trials() if other.number != trial.number]
        self.seen = [(other.params["x"], other.state.name, other.value) for other in others]
        return super().sample_independent(study, trial, name, distribution)


def study_of(curves, sampler, direction):
    """curves: x -> what the trial reported at each epoch. It is paused, that is WAITING; without a report it runs."""
    study = optuna.create_study(direction=direction, sampler=sampler)
    for x, curve in curves.items():
        found = {"intermediate_values": dict(enumerate(curve, start=1)), "distributions": SPACE.distributions}
        study.add_trial(create_trial(state=TrialState.RUNNING, params={"x": x}, **found))
        if curve:
            study._storage.set_trial_state_values(study.trials[-1]._trial_id, TrialState.WAITING)
    return study


def test_a_sampler_sees_paused_trials_with_their_values_at_the_rung_that_enough_have_reached():
    low = {index / 100: [5.0 + index] for index in range(10)}
    curves = {**low, 0.5: [3.0, 2.0, 1.0], 0.6: [math.nan], 0.8: []}
    for direction in ("minimize", "maximize"):
        sampler = Attentive()
        study = study_of(curves, sampler, direction)
        assert 0 <= propose(study, SPACE, Rungs(1, 3))["x"] <= 1
        complete = [(x, "COMPLETE", curve[0]) for x, curve in curves.items() if curve and not math.isnan(curve[0])]
        assert sampler.seen == [*complete, (0.8, "RUNNING", None)]


def test_what_samplers_keep_in_the_study_is_not_taken_from_them():
    assert learns_from_values("optuna.samplers.GPSampler")
    assert learns_from_values("optuna.samplers.TPESampler")
    assert not learns_from_values("optuna.samplers.CmaEsSampler")

"""What the configurations of a search are worth, with the luck of single runs taken out.

A Gaussian process over the search space (scikit-learn's, Matern 5/2) learns from all COMPLETE trials together. The
noise of a value is known if every configuration ran with several seeds: the pooled variance within configurations over
the number of seeds. How far and how much values depend on parameters, and the noise of single runs, are not guessed
once, but averaged over: many guesses count by how likely they make the values.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from optuna_sweep.comparison import seed_noise
from optuna_sweep.outcome import Estimate

if TYPE_CHECKING:
    import numpy as np

FEWEST_TRIALS = 5
GUESSES = 64  # of lengths, variance and noise
DRAWS = 10_000  # of all values together, to count how often each is the best
LENGTHS = (0.1, 10.0)  # over which values change, of a search space that is 1 wide
SHARES = (0.01, 1.0)  # of the variance of values
LEAST_NOISE = 1e-6


def estimates(
    trials: Sequence[FrozenTrial], distributions: Mapping[str, BaseDistribution], direction: str
) -> dict[int, Estimate]:
    """By trial number, of COMPLETE trials with one objective; empty if fewer than FEWEST_TRIALS ran, or all are equal.

    Trials with other parameters than those of `distributions`, and those that took the result of another, are left out.
    A trial that ran with several seeds has their values in its attribute `seed_values`.
    """
    import numpy as np

    own = [
        trial
        for trial in trials
        if trial.state == TrialState.COMPLETE
        and trial.params.keys() == distributions.keys()
        and "reused_from" not in trial.user_attrs
    ]
    values = np.array([trial.values[0] for trial in own])
    if len(own) < FEWEST_TRIALS or not np.isfinite(values).all() or values.std() == 0:
        return {}
    sign = 1 if direction == "maximize" else -1
    centre, scale = values.mean(), values.std()
    noise = _noise_variance(own)
    known = None if noise is None else noise / scale**2
    means, draws = _posterior(_coordinates(own, distributions), sign * (values - centre) / scale, known)
    chances = np.bincount(draws.argmax(axis=1), minlength=len(own)) / DRAWS
    spreads = draws.std(axis=0)
    return {
        trial.number: Estimate(float(centre + sign * scale * mean), float(scale * spread), float(chance))
        for trial, mean, spread, chance in zip(own, means, spreads, chances, strict=True)
    }


def _noise_variance(trials: Sequence[FrozenTrial]) -> float | None:
    """Of a trial's value, the mean over its seeds; None if trials ran with one."""
    runs = [[value for value, *_ in trial.user_attrs.get("seed_values", ())] for trial in trials]
    if any(len(values) < 2 for values in runs):
        return None
    return (seed_noise(runs) or 0.0) ** 2 / len(runs[0])  # all have the same seeds


def _coordinates(trials: Sequence[FrozenTrial], distributions: Mapping[str, BaseDistribution]) -> "np.ndarray":
    """Numbers from 0 to 1, on the scale on which they are searched; choices of numbers by their order, of other things
    in one column each. [trials, columns]
    """
    import numpy as np
    from optuna._transform import _SearchSpaceTransform

    orders = {name: order for name, each in distributions.items() if (order := _order(each)) is not None}
    numbers = {name: IntDistribution(0, len(order) - 1) for name, order in orders.items()}
    space: dict[str, BaseDistribution] = {**distributions, **numbers}
    to_unit = _SearchSpaceTransform(space, transform_log=True, transform_step=False, transform_0_1=True)
    places = [{name: order.index(trial.params[name]) for name, order in orders.items()} for trial in trials]
    return np.stack([to_unit.transform({**trial.params, **own}) for trial, own in zip(trials, places, strict=True)])


def _order(distribution: BaseDistribution) -> list[float] | None:
    """The choices in their order if they are numbers."""
    if not isinstance(distribution, CategoricalDistribution) or len(distribution.choices) < 2:
        return None
    numbers = [choice for choice in distribution.choices if isinstance(choice, int | float)]
    booleans = any(isinstance(choice, bool) for choice in distribution.choices)
    return sorted(numbers) if len(numbers) == len(distribution.choices) and not booleans else None


def _posterior(points: "np.ndarray", values: "np.ndarray", noise: float | None) -> tuple[Any, Any]:
    """The means [trials] of the values without their noise, and draws [DRAWS, trials] of them.

    points: [trials, columns]; values: [trials], of variance 1; noise: its variance, None to guess it.
    """
    import numpy as np
    from scipy.stats import qmc
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern

    random = np.random.default_rng(0)
    unit = qmc.Sobol(points.shape[1] + 2, rng=random).random(GUESSES)
    lengths = LENGTHS[0] * (LENGTHS[1] / LENGTHS[0]) ** unit[:, 2:]
    variances, noises = (SHARES[0] * (SHARES[1] / SHARES[0]) ** unit[:, index] for index in (0, 1))
    fits = []
    for length, variance_, guessed in zip(lengths, variances, noises, strict=True):
        kernel = ConstantKernel(variance_) * Matern(length, nu=2.5)
        alpha = max(guessed if noise is None else noise, LEAST_NOISE)
        process = GaussianProcessRegressor(kernel, alpha=alpha, optimizer=None).fit(points, values)
        fits.append((process.log_marginal_likelihood_value_, *process.predict(points, return_cov=True)))
    likelihoods, means, covariances = map(np.array, zip(*fits, strict=True))
    weights = np.exp(likelihoods - likelihoods.max())
    weights /= weights.sum()
    counts = random.multinomial(DRAWS, weights)
    draws = [
        random.multivariate_normal(mean, covariance, size=count, check_valid="ignore")
        for mean, covariance, count in zip(means, covariances, counts, strict=True)
        if count
    ]
    return weights @ means, np.concatenate(draws)

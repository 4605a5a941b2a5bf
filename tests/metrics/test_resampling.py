import numpy as np

from contrastive_learning.metrics import bootstrap_intervals


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    """Of 400 values with sd 1 the mean has the standard error 1/20, so the ends lie 1.96/20 = 0.098 away from it."""
    values = np.random.default_rng(1).standard_normal(400)
    values = (values - values.mean()) / values.std()
    ((low, high),) = bootstrap_intervals(lambda rows: [values[rows].mean()], 400, resamples=2000)
    np.testing.assert_allclose([low, high], [-0.098, 0.098], atol=0.01)


def test_what_some_samples_do_not_define_has_an_interval_of_the_others():
    def metrics(rows):
        return [1.0 if 0 in rows else np.nan, np.nan]

    np.testing.assert_array_equal(bootstrap_intervals(metrics, 3), [[1, 1], [np.nan, np.nan]])

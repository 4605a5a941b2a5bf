import numpy as np
import pytest

from contrastive_learning.samplers import BalancedBatchSampler, RandomBatchSampler, UnanimityBatchSampler

SAMPLERS = [RandomBatchSampler, BalancedBatchSampler, UnanimityBatchSampler]


def random_votes(num_examples=203, seed=0):
    """Three votes; criteria of 50, 90 and 97 % yes; a tenth not judged."""
    rng = np.random.default_rng(seed)
    yes = np.stack([rng.binomial(3, rate, num_examples) for rate in (0.5, 0.9, 0.97)], axis=1)
    num = np.where(rng.random(yes.shape) < 0.1, 0, 3)
    return np.minimum(yes, num), num


@pytest.mark.parametrize("sampler_class", SAMPLERS)
def test_every_example_once_an_epoch(sampler_class):
    sampler = sampler_class(*random_votes(), batch_size=32, seed=1)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 7
    assert sorted(index for batch in batches for index in batch) == list(range(203))
    assert {len(batch) for batch in batches} == {29}


@pytest.mark.parametrize("sampler_class", SAMPLERS)
def test_order_depends_on_seed_and_epoch_alone(sampler_class):
    first, again, other = (sampler_class(*random_votes(), batch_size=32, seed=seed) for seed in (1, 1, 2))
    epoch_0 = list(first)
    assert list(again) == epoch_0 != list(other)
    first.set_epoch(3)
    epoch_3 = list(first)
    again.set_epoch(3)
    assert list(again) == epoch_3 != epoch_0


@pytest.mark.parametrize("sampler_class", SAMPLERS)
def test_refuses_batches_without_pairs(sampler_class):
    with pytest.raises(ValueError, match="batch_size must be at least 2"):
        sampler_class(*random_votes(), batch_size=1, seed=0)


def test_balanced_puts_both_sides_in_every_batch_where_the_data_allow():
    yes, num = random_votes(400, seed=3)
    sampler = BalancedBatchSampler(yes, num, batch_size=40, seed=0)
    sides = np.concatenate([2 * yes > num, 2 * yes < num], axis=1)
    possible = np.minimum(2, sides.sum(0) // len(sampler))  # two of a side in each batch need 2 x batches of it
    for batch in sampler:
        assert (sides[batch].sum(0) >= possible).all()


def test_balanced_serves_more_anchors_than_random():
    yes, num = random_votes(2000, seed=5)
    no = 2 * yes[:, 2] < num[:, 2]

    def batches_with_pairs(sampler):
        return np.mean([no[batch].sum() >= 2 for batch in sampler])

    balanced = batches_with_pairs(BalancedBatchSampler(yes, num, batch_size=16, seed=0))
    random = batches_with_pairs(RandomBatchSampler(yes, num, batch_size=16, seed=0))
    assert balanced >= random


def test_unanimity_puts_pairs_and_hard_negatives_in_every_batch_where_the_data_allow():
    yes, num = random_votes(400, seed=3)
    sampler = UnanimityBatchSampler(yes, num, batch_size=40, seed=0)
    groups = np.concatenate([(yes == num) & (num > 0), (yes > 0) & (yes < num)], axis=1)
    possible = np.minimum(2, groups.sum(0) // len(sampler))
    for batch in sampler:
        assert (groups[batch].sum(0) >= possible).all()

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from contrastive_learning.samplers import HardNegativeBatchSampler, balanced, domains, random, unanimity


def hard_negative(examples, **settings):
    settings.pop("length_window")
    sampler = HardNegativeBatchSampler(examples, pool_batches=4, **settings)
    embeddings = np.random.default_rng(0).normal(size=(len(examples), 8))
    sampler.refresh(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True))
    return sampler


SAMPLERS = [partial(make, length_window=4) for make in (random, balanced, unanimity, domains, hard_negative)]


@pytest.mark.parametrize("make", SAMPLERS)
def test_every_example_once_an_epoch(make, examples):
    sampler = make(examples(203), batch_size=32, seed=1)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 7
    assert sorted(index for batch in batches for index in batch) == list(range(203))
    assert {len(batch) for batch in batches} == {29}


@pytest.mark.parametrize("make", SAMPLERS)
def test_order_depends_on_seed_and_epoch_alone(make, examples):
    first, again, other = (make(examples(), batch_size=32, seed=seed) for seed in (1, 1, 2))
    epoch_0 = list(first)
    assert list(again) == epoch_0 != list(other)
    first.set_epoch(3)
    epoch_3 = list(first)
    again.set_epoch(3)
    assert list(again) == epoch_3 != epoch_0


@pytest.mark.parametrize("make", SAMPLERS)
def test_no_text_twice_in_a_batch(make, examples):
    data = examples(400, repeated=90)
    for batch in make(data, batch_size=20, seed=0):
        assert len(set(data.texts[batch])) == len(batch)


@pytest.mark.parametrize("make", SAMPLERS)
def test_a_text_that_fills_the_data_is_not_looked_for_for_ever(make, examples):
    data = examples(40)
    data.texts[:] = 0
    assert sorted(index for batch in make(data, batch_size=8, seed=0) for index in batch) == list(range(40))


@pytest.mark.parametrize("make", SAMPLERS)
def test_refuses_batches_without_pairs(make, examples):
    with pytest.raises(ValueError, match="batch_size must be at least 2"):
        make(examples(), batch_size=1, seed=0)


def members_missing(sampler, groups):
    """How often a batch has fewer than two of a group, beyond what the data force."""
    possible = np.minimum(2, groups.sum(0) // len(sampler))
    return sum(int((groups[batch].sum(0) < possible).sum()) for batch in sampler)


@pytest.mark.parametrize("length_window", [2, 10])
def test_balanced_puts_both_sides_in_every_batch_where_the_data_allow(length_window, examples):
    data = examples(800, seed=3)
    sides = np.concatenate([data.yes_side, data.no_side], axis=1)
    assert members_missing(balanced(data, batch_size=80, seed=0, length_window=length_window), sides) == 0
    by_chance = [random(data, batch_size=80, seed=seed, length_window=length_window) for seed in range(5)]
    assert sum(members_missing(sampler, sides) for sampler in by_chance) > 0


def test_unanimity_puts_pairs_and_hard_negatives_in_every_batch_where_the_data_allow(examples):
    data = examples(400, seed=3)
    yes, num = data.yes_votes, data.num_votes
    groups = np.concatenate([(yes == num) & (num > 0), (yes > 0) & (yes < num)], axis=1)
    assert members_missing(unanimity(data, batch_size=40, seed=0, length_window=10), groups) == 0


def test_balanced_serves_more_anchors_than_random(examples):
    data = examples(2000, seed=5)
    no = data.no_side[:, 1]

    def batches_with_pairs(make):
        return np.mean([no[batch].sum() >= 2 for batch in make(data, batch_size=64, seed=0, length_window=8)])

    assert batches_with_pairs(balanced) > batches_with_pairs(random)


@pytest.mark.parametrize("make", [random, balanced, unanimity])
def test_batches_of_similar_length_pad_less(make, examples):
    data = examples(1000)

    def padded_tokens(length_window):
        sampler = make(data, batch_size=20, seed=0, length_window=length_window)
        return sum(data.lengths[batch].max() * len(batch) for batch in sampler)

    assert padded_tokens(16) < 0.75 * padded_tokens(1)


def test_batches_come_in_random_order_of_length(examples):
    data = examples(1000)
    means = [data.lengths[batch].mean() for batch in random(data, batch_size=20, seed=0, length_window=50)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.5


def test_each_batch_has_the_rarer_side_of_every_domain(examples):
    """800 responses of four domains, about a quarter no: of each domain more than two for each of 20 batches."""
    data = examples(800)
    data.yes_votes[:, 1] = np.where(np.random.default_rng(0).random(800) < 0.25, 0, data.num_votes[:, 1])
    missing = {}
    for make in (random, domains):
        batches = list(make(data, batch_size=40, seed=0, length_window=4))
        has = [
            any(data.no_side[row, 1] and data.domains[row] == domain for row in batch)
            for batch in batches
            for domain in (0, 100, 200, 300)
        ]
        missing[make] = has.count(False)
    assert missing[domains] == 0 < missing[random]


def test_domains_that_are_not_known_are_named(examples):
    with pytest.raises(ValueError, match=r"^sampler=domains needs the domain of each response, got none"):
        domains(replace(examples(), domains=None), batch_size=8, seed=0, length_window=1)

"""Responses that nobody judged, added to the batches of other samplers."""

from collections import Counter

import numpy as np
import pytest

from contrastive_learning.samplers import Examples, HardNegativeBatchSampler, WithUnjudgedBatchSampler, balanced


def joined(examples, num_unjudged, *, repeated=0):
    """`examples`, then unjudged ones; the first `repeated` of these have the texts of the first examples."""
    nobody = np.zeros((num_unjudged, examples.yes_votes.shape[1]), dtype=int)
    texts = np.arange(num_unjudged) + len(examples)
    texts[:repeated] = examples.texts[:repeated]
    lengths = np.random.default_rng(1).geometric(0.02, num_unjudged) + 5
    columns = (examples.yes_votes, nobody), (examples.num_votes, nobody), (examples.lengths, lengths)
    return Examples(*map(np.concatenate, columns), np.concatenate([examples.texts, texts]))


def epochs(sampler, count):
    for epoch in range(count):
        sampler.set_epoch(epoch)
        yield list(sampler)


@pytest.mark.parametrize("kind", ["balanced", "hard_negative"])
def test_the_judged_responses_are_those_of_the_sampler_itself(examples, kind):
    def alone():
        if kind == "balanced":
            return balanced(examples(), batch_size=16, seed=0, length_window=4)
        return HardNegativeBatchSampler(examples(), batch_size=16, seed=0, pool_batches=4)

    sampler = WithUnjudgedBatchSampler(alone(), joined(examples(), 60), share=0.5, seed=0)
    for batches, expected in zip(epochs(sampler, 3), epochs(alone(), 3), strict=True):
        assert [[row for row in batch if row < 203] for batch in batches] == expected
        assert [len(batch) - len(own) for batch, own in zip(batches, expected, strict=True)] == [8] * 13
    assert len(sampler) == 13


@pytest.mark.parametrize(("num_unjudged", "share"), [(1000, 0.5), (60, 0.5), (20, 2.0), (3, 0.5)])
def test_all_unjudged_responses_have_their_turn(examples, num_unjudged, share):
    """No pass begins before the one before has ended: counts differ by one at most, but for a few that had no room."""
    judged = balanced(examples(), batch_size=16, seed=0, length_window=4)
    sampler = WithUnjudgedBatchSampler(judged, joined(examples(), num_unjudged), share=share, seed=0)
    seen = Counter(row for batches in epochs(sampler, 10) for batch in batches for row in batch if row >= 203)
    total = 10 * sum(sampler.num_added(size) for size in map(len, judged))
    assert total - 10 <= sum(seen.values()) <= total
    assert max(seen.values()) == -(-total // num_unjudged)
    if total >= num_unjudged:
        assert set(seen) == set(range(203, 203 + num_unjudged))


def test_no_text_is_twice_in_a_batch_and_lengths_are_near(examples):
    both = joined(examples(), 90, repeated=40)
    sampler = WithUnjudgedBatchSampler(
        balanced(examples(), batch_size=16, seed=0, length_window=16), both, share=1.0, seed=0
    )
    for batches in epochs(sampler, 3):
        for batch in batches:
            assert len(set(both.texts[batch])) == len(batch)
        added = [[row for row in batch if row >= 203] for batch in batches]
        shuffled = iter(np.random.default_rng(0).permutation(np.concatenate(added)))
        by_chance = [
            [row for row in batch if row < 203] + [next(shuffled) for _ in more]
            for batch, more in zip(batches, added, strict=True)
        ]
        padded = [sum(both.lengths[batch].max() * len(batch) for batch in some) for some in (batches, by_chance)]
        assert padded[0] < 0.7 * padded[1]


def test_an_epoch_is_a_function_of_seed_and_number(examples):
    def sampler(seed=0):
        judged = balanced(examples(), batch_size=16, seed=0, length_window=4)
        return WithUnjudgedBatchSampler(judged, joined(examples(), 60), share=0.5, seed=seed)

    *_, third = epochs(sampler(), 3)
    late = sampler()
    late.set_epoch(2)
    assert list(late) == third == list(late)
    other = sampler(seed=1)
    other.set_epoch(2)
    assert list(other) != third

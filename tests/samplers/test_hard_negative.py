import numpy as np
import pytest

from contrastive_learning.samplers import Examples, HardNegativeBatchSampler, balanced


def two_sided(num_examples=240, share_no=0.2):
    """One criterion. Each no-response has a twin among the yes-responses: the same point on the circle."""
    rng = np.random.default_rng(0)
    angles = rng.uniform(0, 2 * np.pi, num_examples)
    num_no = int(share_no * num_examples)
    angles[num_no : 2 * num_no] = angles[:num_no] + 1e-3
    yes = np.where(np.arange(num_examples) < num_no, 0, 3)[:, None]
    ones = np.ones(num_examples, dtype=int)
    examples = Examples(yes, np.full_like(yes, 3), ones, np.arange(num_examples))
    return examples, np.stack([np.cos(angles), np.sin(angles)], axis=1), num_no


def twins_together(sampler, num_no):
    return sum(example + num_no in batch for batch in sampler for example in batch if example < num_no)


def test_the_nearest_response_of_the_other_side_shares_the_batch():
    examples, embeddings, num_no = two_sided()
    sampler = HardNegativeBatchSampler(examples, batch_size=24, seed=0, pool_batches=10)
    sampler.refresh(embeddings)
    by_chance = twins_together(balanced(examples, batch_size=24, seed=0, length_window=1), num_no)
    assert twins_together(sampler, num_no) > by_chance + num_no / 4


def test_follows_the_embeddings():
    examples, embeddings, _ = two_sided()
    sampler = HardNegativeBatchSampler(examples, batch_size=24, seed=0, pool_batches=10)
    before = list(sampler)
    sampler.refresh(embeddings)
    near = list(sampler)
    sampler.refresh(embeddings[::-1])
    assert before != near != list(sampler)


def test_refuses_embeddings_of_another_set():
    examples, embeddings, _ = two_sided()
    sampler = HardNegativeBatchSampler(examples, batch_size=24, seed=0, pool_batches=10)
    with pytest.raises(ValueError, match="must have 240 rows, got 239"):
        sampler.refresh(embeddings[:-1])


def test_refuses_a_pool_without_neighbours():
    with pytest.raises(ValueError, match="pool_batches must be at least 2, got 1"):
        HardNegativeBatchSampler(two_sided()[0], batch_size=24, seed=0, pool_batches=1)

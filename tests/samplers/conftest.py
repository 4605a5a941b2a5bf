import numpy as np
import pytest

from contrastive_learning.samplers import Examples


def random_examples(num_examples=203, seed=0, *, repeated=0):
    """Criteria of 50, 90 and 97 % yes, three votes, a tenth missing; the last `repeated` texts repeat the first."""
    rng = np.random.default_rng(seed)
    yes = np.stack([rng.binomial(3, rate, num_examples) for rate in (0.5, 0.9, 0.97)], axis=1)
    num = np.where(rng.random(yes.shape) < 0.1, 0, 3)
    texts = np.arange(num_examples)
    texts[num_examples - repeated :] = texts[:repeated]
    lengths = rng.geometric(0.02, num_examples) + 5
    return Examples(np.minimum(yes, num), num, lengths, texts, domains=np.arange(num_examples) % 4 * 100)


@pytest.fixture
def examples():
    return random_examples

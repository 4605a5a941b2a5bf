"""The examples in the docstrings of what the library offers can be pasted, and give what they say."""

import doctest

import pytest
import torch

import contrastive_learning
from contrastive_learning import judging, losses, samplers

OFFERED = [
    contrastive_learning.ContrastiveTrainer,
    judging.Neighbours,
    judging.Prototypes,
    losses.AgreementLoss,
    losses.ExactMatchLoss,
    losses.JointLoss,
    losses.SupConLoss,
    losses.UnanimityLoss,
    samplers.GroupedBatchSampler,
    samplers.HardNegativeBatchSampler,
    samplers.balanced,
    samplers.random,
    samplers.unanimity,
]


@pytest.mark.parametrize("offered", OFFERED, ids=lambda offered: offered.__name__)
def test_the_example_gives_what_it_says(offered):
    torch.manual_seed(0)
    example = doctest.DocTestParser().get_doctest(offered.__doc__, {}, offered.__name__, None, None)
    assert len(example.examples) > 3
    runner, report = doctest.DocTestRunner(), []
    runner.run(example, out=report.append)
    assert not runner.failures, "".join(report)

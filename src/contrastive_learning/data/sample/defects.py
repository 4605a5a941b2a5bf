"""The nine criteria, in the order of the target set, and how badly one response fails each of them."""

from collections.abc import Mapping
from random import Random

CRITERIA = (
    "linguistic_acceptability",
    "consistency",
    "interestingness",
    "unbias",
    "harmlessness",
    "no_hallucination",
    "understandability",
    "sensibleness",
    "specificity",
)

FINE, MILD, CLEAR, BLATANT = 0, 1, 2, 3
SEVERITIES = (0.0, 0.38, 0.68, 0.97)  # severity of each level, 0..1
LEVEL_WEIGHTS = (0.0, 0.2, 0.3, 0.5)

# How often each criterion fails. A key of RELATED fails more often if its value does.
DEFECT_RATES = {
    "linguistic_acceptability": 0.20,
    "consistency": 0.25,
    "interestingness": 0.20,
    "unbias": 0.14,
    "harmlessness": 0.10,
    "no_hallucination": 0.25,
    "understandability": 0.16,
    "sensibleness": 0.25,
    "specificity": 0.12,
}
RELATED = {"specificity": "interestingness", "harmlessness": "unbias"}
RELATED_RATE = 0.45

Levels = Mapping[str, int]


def draw_levels(random: Random) -> dict[str, int]:
    """A level (FINE to BLATANT) for each criterion."""
    levels: dict[str, int] = {}
    for criterion in sorted(CRITERIA, key=lambda name: name in RELATED):
        cause = RELATED.get(criterion)
        rate = RELATED_RATE if cause is not None and levels[cause] else DEFECT_RATES[criterion]
        fails = random.random() < rate
        level = random.choices((FINE, MILD, CLEAR, BLATANT), LEVEL_WEIGHTS)[0]
        levels[criterion] = level if fails else FINE
    return {criterion: levels[criterion] for criterion in CRITERIA}

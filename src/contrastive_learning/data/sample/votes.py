"""Simulates three annotators who read the same text and differ in strictness, perception and care."""

from random import Random

from contrastive_learning.data.responses import VoteCount

TOLERANCES = (0.42, 0.50, 0.58)  # the severity up to which each annotator says yes
PERCEPTION_NOISE = 0.15  # standard deviation of the severity as perceived
LAPSE_RATE = 0.012  # how often a vote is the opposite of what was perceived


def cast_votes(severity: float, random: Random) -> VoteCount:
    """Votes on one criterion that fails by `severity`, 0 (fine) to 1 (blatant)."""
    yes = sum(_says_yes(severity, tolerance, random) for tolerance in TOLERANCES)
    return VoteCount(yes, len(TOLERANCES))


def _says_yes(severity: float, tolerance: float, random: Random) -> bool:
    perceived_as_good = severity + random.gauss(0.0, PERCEPTION_NOISE) <= tolerance
    lapses = random.random() < LAPSE_RATE
    return perceived_as_good != lapses

"""Steadiness between seeds: how often runs that differ only in the seed decide otherwise on split responses."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from contrastive_app.judge.models import SETTINGS, settings_of
from contrastive_app.judge.recorded import recorded_scores
from contrastive_app.report.changed import NO_CONTRAST, SPLITS
from contrastive_app.report.evidence import Arm, Evidence
from contrastive_app.report.tables import name_of
from contrastive_app.report.wording import signed

RESAMPLES = 2000
LOW, HIGH = 2.5, 97.5  # percentiles


class Decisions(NamedTuple):
    """Those of one configuration on one split, by runs of several seeds."""

    yes: np.ndarray  # [seeds, responses, criteria], at the thresholds of each run
    is_split: np.ndarray  # [responses, criteria]: whether annotators disagreed

    def disagreement(self) -> np.ndarray:
        """The share of pairs of runs that decide otherwise. [responses, criteria], 0 where annotators agreed."""
        num_seeds, yes = len(self.yes), self.yes.sum(axis=0)
        return np.where(self.is_split, 2 * yes * (num_seeds - yes) / (num_seeds * (num_seeds - 1)), 0.0)


def between_seeds(evidence: Evidence) -> str:
    """A sentence on the contrastive configuration and on λ = 0; empty with fewer than two seeds, or without files."""
    found = next((pair for split in SPLITS if (pair := _both(evidence, split)) is not None), None)
    if found is None:
        return ""
    split, own, other = found
    cells = int(own.is_split.sum())
    if not cells:
        return ""
    share = 100 * own.disagreement().sum() / cells
    name = name_of(evidence, evidence.contrastive)
    words = (
        f"Two of the {len(own.yes)} runs with {name} that differ only in the seed decide otherwise on {share:.1f} % "
        f"of the {cells:,} split votes of {split}"
    )
    if other is None:
        return f"{words}."
    low, high = np.percentile(_differences(own, other), (LOW, HIGH))
    rival = 100 * other.disagreement().sum() / cells
    return (
        f"{words}, with {NO_CONTRAST} on {rival:.1f} % (difference {signed(share - rival, 1)} points, 95 % over "
        f"responses {signed(100 * low, 1)} to {signed(100 * high, 1)})."
    )


def _both(evidence: Evidence, split: str) -> tuple[str, Decisions, Decisions | None] | None:
    baseline = evidence.baseline
    own = _decisions(evidence.contrastive, split)
    if own is None:
        return None
    other = None if baseline is None or evidence.contrastive.is_baseline else _decisions(baseline, split)
    alike = other is not None and np.array_equal(own.is_split, other.is_split) and len(own.yes) == len(other.yes)
    return split, own, other if alike else None


def _decisions(arm: Arm, split: str) -> Decisions | None:
    """None with fewer than two runs, or if one has not recorded the split, or other responses than the first."""
    files = [run.folder / f"{split}.parquet" for run in arm.runs.values()]
    if len(files) < 2 or not all(file.is_file() and (file.parent / "judge" / SETTINGS).is_file() for file in files):
        return None
    read = [_read(file) for file in files]
    first = read[0].is_split
    if not all(np.array_equal(first, each.is_split) for each in read):
        return None
    return Decisions(np.concatenate([each.yes for each in read]), first)


def _read(file: Path) -> Decisions:
    settings = settings_of(file.parent / "judge")
    scores = recorded_scores(file, settings)
    yes_votes, num_votes = (np.array(scores[name].to_pylist()) for name in ("yes_votes", "num_votes"))
    columns: Sequence[str] = [f"decision/{criterion}" for criterion in settings["criteria"]]
    decisions = np.stack([scores[column].to_numpy(zero_copy_only=False) for column in columns], axis=1)
    return Decisions(decisions[None].astype(int), (yes_votes > 0) & (yes_votes < num_votes))


def _differences(own: Decisions, other: Decisions) -> np.ndarray:
    """The difference in resampled sets of responses. [RESAMPLES]"""
    gaps = (own.disagreement() - other.disagreement()).sum(axis=1)
    cells = own.is_split.sum(axis=1)
    drawn = np.random.default_rng(0).integers(len(gaps), size=(RESAMPLES, len(gaps)))
    counts = cells[drawn].sum(axis=1)
    return np.asarray(gaps[drawn].sum(axis=1)[counts > 0] / counts[counts > 0])

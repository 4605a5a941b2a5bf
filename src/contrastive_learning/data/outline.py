"""The data of a run in a few lines, said before it trains."""

import textwrap

import numpy as np

from contrastive_learning.data.tokenized import TokenizedData, TokenizedSplit

FEW_JUDGED = 30  # responses: a threshold chosen on fewer is mostly chance
MOST_NAMED = 12  # criteria
WIDTH = 100  # columns of the yes rates


def outline(data: TokenizedData) -> list[str]:
    """Sizes and votes; yes rates; and a warning if a held-out split has too few judged responses of a criterion.

    train 96, valid 48, test 48, test_ood 48 responses; 2 criteria; 3 votes each
    yes in train: consistency 81 %, harmlessness 93 %
    """
    sizes = ", ".join(f"{name} {len(split):,}" for name, split in data.splits.items())
    num_votes = np.concatenate([split.num_votes for split in data.splits.values()])
    votes = num_votes[num_votes > 0]
    each = str(votes.min()) if votes.min() == votes.max() else f"{votes.mean():.1f} ({votes.min()}-{votes.max()})"
    rates = [f"{name} {rate:.0%}" for name, rate in zip(data.criteria, data.yes_rates, strict=True)]
    more = f", and {len(rates) - MOST_NAMED} more" if len(rates) > MOST_NAMED else ""
    criteria = "1 criterion" if len(rates) == 1 else f"{len(rates)} criteria"
    small = [found for name, split in data.splits.items() if (found := _too_few(name, split, data.criteria))]
    warning = f"warning: too few judged responses for steady thresholds and figures: {'; '.join(small)}"
    return [
        f"data: {sizes} responses; {criteria}; {each} {'vote' if each == '1' else 'votes'} each",
        *textwrap.wrap(f"yes in train: {', '.join(rates[:MOST_NAMED])}{more}", WIDTH, subsequent_indent=" " * 14),
        *([warning] if small else []),
    ]


def _too_few(split: str, responses: TokenizedSplit, criteria: tuple[str, ...]) -> str:
    """How many responses the split has of the criteria of which it has too few; else empty."""
    judged = (responses.num_votes > 0).sum(0)
    few = [f"{count} of {name}" for count, name in zip(judged, criteria, strict=True) if count < FEW_JUDGED]
    if split == "train" or not few:
        return ""
    if len(few) == len(criteria) > 1:
        least, most = judged.min(), judged.max()
        few = [f"{least if least == most else f'{least}-{most}'} of each criterion"]
    more = f" and {len(few) - MOST_NAMED} more" if len(few) > MOST_NAMED else ""
    return f"{split} has {', '.join(few[:MOST_NAMED])}{more}"

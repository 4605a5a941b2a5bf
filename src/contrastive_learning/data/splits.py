"""Divides conversations into train, valid, test and test_ood, and makes the checks that every data source needs."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from contrastive_learning.data.names import resolved
from contrastive_learning.data.notes import Notes
from contrastive_learning.data.responses import SPLITS, UNJUDGED, RatedResponse, Splits, VoteCount
from contrastive_learning.data.rows import composed

Parts = dict[str, list[RatedResponse]]  # split -> responses; a split without a file is absent
Votes = Mapping[str, Counter[VoteCount]]  # of one split: criterion -> how often each count occurs


@dataclass(frozen=True, slots=True)
class SplitRules:
    """Settings of `data.source`; the fractions are shares of the responses, filled with whole conversations."""

    criteria: Sequence[object] | None  # names, as Hydra reads them (1 for "1"); None: all that train has
    valid_fraction: float
    test_fraction: float
    held_out_domains: Sequence[object]
    split_seed: int

    def __post_init__(self) -> None:
        for name, names in (("criteria", self.criteria), ("held_out_domains", self.held_out_domains)):
            if names is None:
                continue
            is_list = isinstance(names, Sequence) and not isinstance(names, str)
            if not is_list or len(set(map(str, names))) < len(names) or (name == "criteria" and not names):
                raise ValueError(f"data.source.{name} must be a list of different names such as [a,b], got {names!r}")
            object.__setattr__(self, name, composed(names))  # as the names in the data are
        if not 0 < self.valid_fraction < 1:
            raise ValueError(f"data.source.valid_fraction must be above 0 and below 1, got {self.valid_fraction}")
        if not 0 <= self.test_fraction < 1 - self.valid_fraction:
            raise ValueError(
                f"data.source.test_fraction must be at least 0 and leave room for train next to "
                f"valid_fraction={self.valid_fraction}, got {self.test_fraction}"
            )


def make_splits(
    parts: Parts,
    rules: SplitRules,
    found: Collection[str],
    remarks: Iterable[str],
    *,
    test_from: str = "train",
    unjudged: Iterable[RatedResponse] = (),
) -> Splits:
    """Complete and check the splits that were read.

    A conversation or a (context, response) that occurs in several splits stays only in the last of them. Responses of
    held-out domains move to test_ood. A missing valid is drawn from train, a missing test from `test_from`.
    Of the `unjudged`, those are left out that would let training see a held-out split, and repeats.
    Raises ValueError if train or valid is empty or train lacks yes or no votes on a criterion.
    """
    criteria = _chosen(rules.criteria, found)
    parts, dropped = _without_repeats(parts)  # before domains move: a repeat would be one in test_ood, too
    parts = _with_held_out(parts, rules.held_out_domains)
    parts |= _divided(parts, rules, test_from)
    parts, dropped_again = _without_repeats(parts)
    _check_sizes(parts)
    votes = {split: _votes(parts[split], criteria) for split in SPLITS if parts.get(split)}
    _check_classes(votes["train"])
    remarks = [*remarks, *dropped, *dropped_again, *_remarks(parts, rules), *_one_sided(votes)]
    train, valid, test, test_ood = (parts.get(split, []) for split in SPLITS)
    left_out = Notes(UNJUDGED)
    kept = list(_unseen(unjudged, parts, left_out))
    return Splits(criteria, train, valid, test, test_ood, remarks + left_out.remarks(), unjudged=kept)


def _unseen(unjudged: Iterable[RatedResponse], parts: Parts, left_out: Notes) -> Iterator[RatedResponse]:
    """Those of which no held-out split has the conversation, the texts, or a domain that train does not have."""
    held_out = [item for split in SPLITS[1:] for item in parts.get(split, [])]
    groups = {item.group for item in held_out}
    domains = {item.domain for item in parts.get("test_ood", [])} - {item.domain for item in parts["train"]}
    texts = {(item.context, item.response) for item in (*parts["train"], *held_out)}
    for item in unjudged:
        if item.domain in domains:
            left_out.add("responses left out: only test_ood has their domain", item.id)
        elif item.group in groups:
            left_out.add("responses left out: their conversation is in valid, test or test_ood", item.id)
        elif (item.context, item.response) in texts:
            left_out.add("responses left out: another one has the same context and response", item.id)
        else:
            texts.add((item.context, item.response))
            yield item


def _chosen(wanted: Sequence[object] | None, found: Collection[str]) -> tuple[str, ...]:
    if wanted is None:
        return tuple(found)
    return tuple(resolved("a name in data.source.criteria", criterion, found) for criterion in wanted)


def _without_repeats(parts: Parts) -> tuple[Parts, list[str]]:
    kept, remarks = dict(parts), []
    groups: set[str] = set()
    texts: set[tuple[tuple[str, ...], str]] = set()
    for split in reversed([split for split in SPLITS if split in parts]):
        others = [item for item in parts[split] if item.group not in groups]
        kept[split] = [item for item in others if (item.context, item.response) not in texts]
        for before, after, what in (
            (parts[split], others, "conversation"),
            (others, kept[split], "context and response"),
        ):
            if len(after) < len(before):
                first = next(old.id for old, new in zip_longest(before, after) if old is not new)
                later = " or ".join(name for name in SPLITS[SPLITS.index(split) + 1 :] if name in parts)
                left_out = f"{split}: {len(before) - len(after):,} responses left out"
                remarks.append(f"{left_out}: the same {what} is in {later} too, such as {first}")
        groups.update(item.group for item in parts[split])
        texts.update((item.context, item.response) for item in parts[split])
    return kept, remarks


def _with_held_out(parts: Parts, domains: Sequence[object]) -> Parts:
    if not domains:
        return parts
    found = sorted({item.domain for items in parts.values() for item in items})
    held_out = {resolved("a name in data.source.held_out_domains", domain, found) for domain in domains}
    moved = [item for split in SPLITS[:3] for item in parts.get(split, []) if item.domain in held_out]
    kept = {
        split: items if split == "test_ood" else [item for item in items if item.domain not in held_out]
        for split, items in parts.items()
    }
    return kept | {"test_ood": parts.get("test_ood", []) + moved}


def _divided(parts: Parts, rules: SplitRules, test_from: str) -> Parts:
    """The splits that change if valid and test are drawn from the given ones."""
    wanted = {split for split in ("valid", "test") if split not in parts}
    if test_from == "valid" and wanted == {"test"}:
        share = rules.test_fraction / (rules.valid_fraction + rules.test_fraction)
        return draw_groups(parts["valid"], "valid", {"test": share}, rules.split_seed)
    fractions = {"valid": rules.valid_fraction, "test": rules.test_fraction}
    return draw_groups(parts["train"], "train", {split: fractions[split] for split in sorted(wanted)}, rules.split_seed)


def draw_groups(responses: Sequence[RatedResponse], rest: str, fractions: Mapping[str, float], seed: int) -> Parts:
    """Draw whole groups for each split in `fractions` (split -> share of the responses); the others go to `rest`.

    The draw depends only on `seed` and the names of the groups, not on the order of rows. A group that would exceed
    the share is passed over, so that one huge conversation cannot become all of valid. If no group is small enough,
    valid gets the smallest one and test stays empty.
    """
    sizes = Counter(item.group for item in responses)
    order = sorted(sizes, key=lambda group: hashlib.blake2b(f"{seed} {group}".encode(), digest_size=8).digest())
    home: dict[str, str] = {}
    for split, groups in (("valid", order[::-1]), ("test", order)):  # from both ends: neither fraction moves the other
        room = round(fractions.get(split, 0) * len(responses), 6)  # 0.3 / 0.4 of 20 is 15, not 14.999
        for group in groups:
            if group not in home and sizes[group] <= room and len(home) < len(order) - 1:
                home[group] = split
                room -= sizes[group]
        if split == "valid" in fractions and not home and len(order) > 1:
            home[min(groups, key=lambda group: sizes[group])] = split
    drawn: Parts = {split: [] for split in (rest, *fractions)}
    for item in responses:
        drawn[home.get(item.group, rest)].append(item)
    return drawn


def _check_sizes(parts: Parts) -> None:
    for split in ("train", "valid"):
        if not parts.get(split):
            others = ", ".join(
                f"{name} {len(items):,} responses in {len({item.group for item in items}):,} groups"
                for name, items in parts.items()
                if items
            )
            got = f"{split} must hold responses, got none ({others or 'nothing anywhere'})"
            if sum(map(len, parts.values())) < 2:
                raise ValueError(f"{got}; two responses are the least, one for train and one for valid")
            raise ValueError(
                f"{got}; "
                "a group is never divided: the responses with one conversation_id, or without it with one first turn; "
                "give each row the conversation_id of its dialogue"
            )


def _check_classes(votes: Votes) -> None:
    sides = {criterion: _sides(counts) for criterion, counts in votes.items()}
    lacking = {
        "only yes on": [name for name, side in sides.items() if side == {"yes"}],
        "only no on": [name for name, side in sides.items() if side == {"no"}],
        "no votes on": [name for name, side in sides.items() if not side],
    }
    if any(lacking.values()):
        reasons = " and ".join(f"{what} {', '.join(names)}" for what, names in lacking.items() if names)
        usable = ",".join(name for name, side in sides.items() if len(side) == 2)
        advice = f"leave them out with data.source.criteria=[{usable}]" if usable else "there is nothing to learn"
        raise ValueError(f"train must hold yes and no votes on each criterion, got {reasons}; {advice}")


def _sides(counts: Iterable[VoteCount]) -> set[str]:
    sides = {"yes"} if any(count.yes for count in counts) else set()
    return sides | {"no"} if any(count.total > count.yes for count in counts) else sides


def _remarks(parts: Parts, rules: SplitRules) -> Iterable[str]:
    if not parts.get("test"):
        few = f"too few conversations for test_fraction={rules.test_fraction}"
        yield f"test is empty: {few if rules.test_fraction else 'test_fraction=0'}"
    shared = {item.domain for item in parts["train"]} & {item.domain for item in parts.get("test_ood", [])}
    if shared:
        yield f"test_ood: train holds its domain {', '.join(sorted(shared))} too, so it does not measure new domains"
    if not any(item.context for item in parts["train"]):
        yield "train: no response has a context"


def _one_sided(votes: Mapping[str, Votes]) -> Iterable[str]:
    for split, of_split in votes.items():
        names = defaultdict(list)
        for criterion, counts in of_split.items():
            sides = {2 * count.yes > count.total for count in counts}
            if len(sides) < 2:
                what = "every response has more yes than no" if True in sides else "no response has more yes than no"
                names[what if sides else "no votes"].append(criterion)
        for what, criteria in names.items():
            yield f"{split}: {what} on {', '.join(criteria)}"


def _votes(responses: Sequence[RatedResponse], criteria: Iterable[str]) -> Votes:
    return {
        criterion: Counter(item.votes[criterion] for item in responses if criterion in item.votes)
        for criterion in criteria
    }

"""Prints what was read of the data, without training: data.report=true. In the order in which a person asks."""

import math
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from contrastive_app.launched import is_follower
from contrastive_app.parts import build_parts, unjudged_remarks

if TYPE_CHECKING:
    from contrastive_learning.data.responses import RatedResponse, Splits
    from contrastive_learning.data.summary import InputLengths, VoteFacts

    Facts = dict[str, dict[str, VoteFacts]]  # criterion -> split, or ALL -> facts

WIDTH = 100  # columns at most
ALL = "all splits"
FEW_RESPONSES = 200  # in a held-out split: a share measured on fewer is uncertain by more than 7 points
FEW_ON_A_SIDE = 30  # training responses of the rarer side of a criterion
TENTATIVE_AGREEMENT = 0.667  # Krippendorff (2004): below it not even tentative conclusions
MOST_CUT = 0.05  # share of inputs cut off by data.max_length that is named
MOST_DOMAINS = 10
MOST_TURNS, MOST_CHARACTERS = 4, 200  # of an example


def print_report(config: DictConfig) -> None:
    """Read the data, and print what a person should know before training. Nothing is recorded, no weights are built."""
    from contrastive_learning.data.inputs import tokenizer_for
    from contrastive_learning.data.responses import SPLITS
    from contrastive_learning.data.summary import input_lengths, telling_examples, vote_facts

    if is_follower():
        return
    parts = build_parts(config)
    encoder, max_length = parts.recipe.encoder, config.data.max_length
    encoder.check(max_length)
    data = parts.source.load()
    splits = {name: responses for name in SPLITS if (responses := getattr(data, name))}
    everything = [item for responses in splits.values() for item in responses]
    facts: Facts = {
        criterion: {name: vote_facts(some, criterion) for name, some in [*splits.items(), (ALL, everything)]}
        for criterion in data.criteria
    }
    tokenizer = tokenizer_for(encoder, data.train)
    lengths = {
        name: input_lengths(responses, tokenizer, max_length=max_length, prefix=config.data.prefix)
        for name, responses in splits.items()
    }
    console = _console()
    for paragraph in (
        "\n".join([_what_was_read(config, data), *unjudged_remarks(parts, len(data.unjudged))]),
        _sizes(splits),
        _votes(facts, list(splits)),
        _lengths(lengths, max_length),
        _shared(data),
        _domains(data, list(splits)),
        *(_example(item) for item in telling_examples(data.train)),
        _to_look_at(splits, facts, lengths, max_length),
    ):
        console.print(paragraph)
        console.print()


def _console() -> Console:
    """As wide as the terminal, but at most WIDTH. The data's brackets are no markup, and :smile: is no emoji."""
    console = Console(file=sys.stdout, markup=False, emoji=False, highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    return console


def _what_was_read(config: DictConfig, data: "Splits") -> str:
    source = config.data.path if "path" in config.data else config.data.source._target_
    rows = ", ".join(f"{name} {count:,}" for name, count in data.rows.items())
    lines = [f"Data: {source}", *([f"Rows read: {rows}"] if rows else []), *map(_printable, data.remarks)]
    return "\n".join(lines)


def _sizes(splits: "dict[str, list[RatedResponse]]") -> Table:
    from contrastive_learning.data.summary import num_repeats

    table = _table("Responses", "split", "responses", "groups", "domains", "with context", "most turns", "repeats")
    for name, responses in splits.items():
        table.add_row(
            name,
            f"{len(responses):,}",
            f"{len({item.group for item in responses}):,}",
            f"{len({item.domain for item in responses}):,}",
            _percent(sum(bool(item.context) for item in responses) / len(responses)),
            str(max(len(item.context) for item in responses)),
            f"{num_repeats(responses):,}",
        )
    table.caption = (
        "A group (conversation) is never divided between splits. Repeats: context and text of an earlier one"
    )
    return table


def _votes(facts: "Facts", splits: Sequence[str]) -> Table:
    names = ["criterion", "judged", "votes\neach", *(f"yes in\n{name}" for name in splits), "split\nvotes", "alpha"]
    table = _table("Votes", *names)
    for criterion, of_split in facts.items():
        overall = of_split[ALL]
        fewest, mean, most = overall.num_votes
        table.add_row(
            criterion,
            f"{overall.num_judged:,}",
            str(most) if fewest == most else f"{mean:.1f} ({fewest}-{most})",
            *(_percent(of_split[name].yes_rate) for name in splits),
            _percent(overall.split_rate),
            "-" if math.isnan(overall.agreement) else f"{overall.agreement:.2f}",
        )
    table.caption = (
        "Split votes: responses with votes of both sides, of those with two or more. Alpha: Krippendorff's, agreement "
        "beyond chance: 1 always, 0 none; from 0.80 on it is held to be reliable, from 0.67 on tentatively"
    )
    return table


def _lengths(lengths: "dict[str, InputLengths]", max_length: int) -> Table:
    table = _table("Tokens per input", "split", "median", "95 %", "longest", "context cut", "response cut")
    for name, (tokens, num_cut, num_cut_responses) in lengths.items():
        ordered = sorted(tokens.tolist())
        table.add_row(
            name,
            f"{ordered[len(ordered) // 2]:,}",
            f"{ordered[math.ceil(0.95 * len(ordered)) - 1]:,}",
            f"{ordered[-1]:,}",
            _percent(num_cut / len(ordered)),
            _percent(num_cut_responses / len(ordered)),
        )
    table.caption = f"data.max_length={max_length} cuts the oldest context first, the end of the response last"
    return table


def _shared(data: "Splits") -> str:
    from contrastive_learning.data.summary import overlaps

    found = [
        f"{overlap.split}: {overlap.count:,} of {len(getattr(data, overlap.split)):,} responses share {overlap.what} "
        f"with train, such as {' and '.join(overlap.example)}"
        for overlap in overlaps(data)
    ]
    return "\n".join(found or ["Between splits: no response shares group, whole context or text with train"])


def _domains(data: "Splits", splits: Sequence[str]) -> Table:
    from contrastive_learning.data.summary import domain_counts

    counts = list(domain_counts(data, splits).items())
    table = _table("Responses per domain", "domain", *splits)
    for domain, of_split in counts[:MOST_DOMAINS]:
        table.add_row(_printable(domain), *(f"{count:,}" for count in of_split))
    if rest := counts[MOST_DOMAINS:]:
        sums = (sum(column) for column in zip(*(of_split for _, of_split in rest), strict=True))
        table.add_row(f"{len(rest)} more", *(f"{count:,}" for count in sums))
    return table


def _example(item: "RatedResponse") -> str:
    shown = [f"  > {_short(turn)}" for turn in item.context[-MOST_TURNS:]]
    if len(item.context) > MOST_TURNS:
        shown.insert(0, f"  ({len(item.context) - MOST_TURNS} earlier turns)")
    votes = ", ".join(f"{criterion} {vote.yes}/{vote.total}" for criterion, vote in item.votes.items())
    return "\n".join(
        [
            f"Example {item.id} ({_printable(item.domain)})",
            *shown,
            f"  = {_short(item.response)}",
            f"  yes votes: {votes}",
        ]
    )


def _to_look_at(
    splits: "dict[str, list[RatedResponse]]", facts: "Facts", lengths: "dict[str, InputLengths]", max_length: int
) -> str:
    lines = [*_small_splits(splits), *_weak_criteria(facts), *_cut_inputs(lengths, max_length)]
    return "\n".join(["To look at:", *(f"- {line}" for line in lines)]) if lines else "Nothing stands out."


def _small_splits(splits: "dict[str, list[RatedResponse]]") -> Iterator[str]:
    for name, responses in splits.items():
        if name != "train" and len(responses) < FEW_RESPONSES:
            points = 100 * 1.96 * math.sqrt(0.25 / len(responses))  # 95 % interval of a share of one half
            what = "thresholds and best epoch, chosen on it," if name == "valid" else "figures"
            yield f"{name} has {len(responses)} responses: {what} are uncertain (a share by ±{points:.0f} points)"


def _weak_criteria(facts: "Facts") -> Iterator[str]:
    for criterion, of_split in facts.items():
        rarer = of_split["train"].num_minority
        if rarer < FEW_ON_A_SIDE:
            yield f"{criterion}: only {rarer} training responses are on the rarer side"
        if of_split[ALL].num_votes[2] < 2:
            yield f"{criterion}: one vote per response, so that nothing tells how far people agree"
        if of_split[ALL].agreement < TENTATIVE_AGREEMENT:
            yield f"{criterion}: people agree little (alpha {of_split[ALL].agreement:.2f})"


def _cut_inputs(lengths: "dict[str, InputLengths]", max_length: int) -> Iterator[str]:
    for name, (tokens, num_cut, _) in lengths.items():
        if num_cut > MOST_CUT * len(tokens):
            yield f"{name}: {_percent(num_cut / len(tokens))} of the inputs are cut off at data.max_length={max_length}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", caption_justify="left", box=SIMPLE_HEAD)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    return table


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.1%}"


def _short(text: str) -> str:
    text = _printable(text)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}… ({len(text):,} characters)"


def _printable(text: str) -> str:
    """One line, without what would move a terminal's cursor or change its colours."""
    return "".join(character if character.isprintable() else " " for character in text)

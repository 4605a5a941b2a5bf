"""AI Hub 71773, "AI 응답 결과에 대한 품질 평가 데이터": answers of a bot, with the votes of three annotators."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple

from contrastive_learning.data.aihub_files import documents, find_files, part_of
from contrastive_learning.data.files import digest
from contrastive_learning.data.responses import RatedResponse, Splits, VoteCount
from contrastive_learning.data.rows import composed, field, label, shown, text
from contrastive_learning.data.splits import SplitRules, make_splits
from contrastive_learning.data.tables import place, read_rows, table_remarks
from contrastive_learning.data.vote_counts import VoteCounter, row_votes

FORMAT_VERSION = 2  # raise when the same files come to mean something else
BOT = 0  # speaker_id


class Turn(NamedTuple):
    id: str
    text: str
    is_answer: bool  # said by the bot
    votes: Mapping[str, VoteCount]


class Conversation(NamedTuple):
    """A dialogue as read: `part` is train or valid, or None if no folder tells."""

    part: str | None
    where: str
    id: str
    responses: list[RatedResponse]
    skipped: list[str]  # ids of answers without votes or text; the text of the former still is context


class AIHubData:
    """Raw label files (zips or unpacked, in the folders as downloaded), or the aggregated csv of the same dialogues.

    Training becomes train. Validation is divided between valid and test, valid_fraction to test_fraction, as the test
    part is not published; a dialogue that is in both is dropped from train. If there is only one part, valid and test
    are drawn from it by conversation. `held_out_domains` are topics, whose dialogues move from both parts to test_ood.
    The context of an answer is everything said before it. The place of a vote does not tell who voted, so only counts
    are kept.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        criteria: Sequence[str] | None = None,
        valid_fraction: float = 0.1,
        test_fraction: float = 0.1,
        held_out_domains: Sequence[str] = (),
        split_seed: int = 0,
    ) -> None:
        self._path = path
        self._rules = SplitRules(criteria, valid_fraction, test_fraction, held_out_domains, split_seed)

    def fingerprint(self) -> str:
        return digest(find_files(self._path), asdict(self._rules) | {"format": f"aihub {FORMAT_VERSION}"})

    def load(self) -> Splits:
        counter = VoteCounter(self._rules.criteria)
        parts: dict[str | None, list[RatedResponse]] = {}
        places: dict[tuple[str | None, str], str] = {}
        skipped: list[str] = []
        answers: Counter[str] = Counter()
        for part, where, name, responses, skipped_here in read_conversations(self._path, counter):
            if (part, name) in places:
                raise ValueError(f"{where}: conversation {name} must occur once, got it also in {places[part, name]}")
            places[part, name] = where
            parts.setdefault(part, []).extend(responses)
            skipped += skipped_here
            answers[f"answers of {part or 'the only part'}"] += len(responses) + len(skipped_here)
        remarks = []
        if skipped:
            remarks.append(f"{len(skipped):,} answers left out: no votes or no text, such as {skipped[0]}")
        for file in find_files(self._path).values():
            remarks += table_remarks(file) if file.suffix.lower() == ".csv" else []
        if not parts:
            raise ValueError(f"{self._path} must hold conversations, got none")
        if len(parts) == 1:
            splits = make_splits({"train": parts.popitem()[1]}, self._rules, counter.found, remarks)
        else:
            named = {split: parts[split] for split in ("train", "valid")}
            splits = make_splits(named, self._rules, counter.found, remarks, test_from="valid")
        return replace(splits, rows=answers)


def read_conversations(path: str | Path, counter: VoteCounter) -> Iterator[Conversation]:
    """Every conversation, each with its answers that have votes, oldest first."""
    for name, file in find_files(path).items():
        read = _from_table if file.suffix.lower() == ".csv" else _from_labels
        yield from read(part_of(name), file, counter)


def _from_labels(part: str | None, file: Path, counter: VoteCounter) -> Iterator[Conversation]:
    for where, content in documents(file):
        try:
            dataset = _field(_parsed(content), "dataset", dict)
            for conversation in _field(dataset, "conversations", list):
                name = label(_field(conversation, "conversation_id", int | str), "conversation_id")
                topic = _field(_field(conversation, "metadata", dict), "topic", str)
                utterances = _field(conversation, "utterances", list)
                yield _conversation(part, where, name, topic, _in_order(utterances, counter))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error


def _parsed(content: str) -> Any:
    try:
        return composed(json.loads(content))
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON: {error}") from error


def _in_order(utterances: list[Any], counter: VoteCounter) -> Iterator[Turn]:
    """The turns, exchange by exchange, the question before its answer: in the files some are out of order."""
    exchanges: dict[str, list[Turn]] = {}
    for index, utterance in enumerate(utterances):
        try:
            exchange = exchanges.setdefault(_field(utterance, "exchange_id", str), [])
            evaluations = _field(utterance, "utterance_evaluation", list | None) or []
            votes = counter.count(_by_criterion(evaluations))
            name = _field(utterance, "utterance_id", str)
            words = _field(utterance, "utterance_text", str | None) or ""
            exchange.append(Turn(name, words, _field(utterance, "speaker_id", int) == BOT, votes))
        except ValueError as error:
            raise ValueError(f"utterances[{index}]: {error}") from error
    for exchange in exchanges.values():
        yield from sorted(exchange, key=lambda turn: turn.is_answer)


def _by_criterion(evaluations: list[Any]) -> dict[str, list[Any]]:
    """{criterion: votes} from one {criterion: vote} per evaluation."""
    for evaluation in evaluations:
        if not isinstance(evaluation, dict):
            raise ValueError(f"utterance_evaluation must hold {{criterion: yes or no}}, got {shown(evaluation)}")
    criteria = dict.fromkeys(criterion for evaluation in evaluations for criterion in evaluation)
    return {criterion: [evaluation.get(criterion) for evaluation in evaluations] for criterion in criteria}


def _from_table(part: str | None, file: Path, counter: VoteCounter) -> Iterator[Conversation]:
    topics: dict[str, str] = {}
    exchanges: dict[str, list[tuple[int, Turn, Turn]]] = defaultdict(list)
    for line, row in read_rows(file):
        try:
            name = text(field(row, "conversation_id"), "conversation_id")
            topics.setdefault(name, text(field(row, "topic"), "topic"))
            question = Turn("", text(field(row, "human_question"), "human_question"), False, {})
            words, votes = text(field(row, "bot_response"), "bot_response"), counter.count(row_votes(row))
            answer = Turn(text(field(row, "utterance_id"), "utterance_id"), words, True, votes)
            exchanges[name].append((_index(field(row, "utterance_index")), question, answer))
        except ValueError as error:
            raise ValueError(f"{place(file, line)}: {error}") from error
    for name, topic in topics.items():
        ordered = sorted(exchanges.pop(name), key=lambda exchange: exchange[0])
        turns = [turn for _, question, answer in ordered for turn in (question, answer)]
        yield _conversation(part, str(file), name, topic, turns)


def _conversation(part: str | None, where: str, name: str, topic: str, turns: Iterable[Turn]) -> Conversation:
    said: list[str] = []
    responses, skipped = [], []
    for turn in turns:
        is_blank = not turn.text.strip()
        if turn.is_answer and turn.votes and not is_blank:
            responses.append(RatedResponse(turn.id, topic, tuple(said), turn.text, turn.votes, name))
        elif turn.is_answer:
            skipped.append(turn.id)
        if not is_blank:
            said.append(turn.text)
    return Conversation(part, where, name, responses, skipped)


def _index(value: str) -> int:
    if not value.isdecimal():
        raise ValueError(f"utterance_index must be a whole number, got {shown(value)}")
    return int(value)


def _field(row: Any, name: str, kind: type | UnionType) -> Any:
    if not isinstance(row, dict):
        raise ValueError(f"{name} must be a field of a JSON object, got {shown(row)}")
    value = field(row, name)
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be {getattr(kind, '__name__', kind)}, got {shown(value)}")
    return text(value, name) if isinstance(value, str) else value

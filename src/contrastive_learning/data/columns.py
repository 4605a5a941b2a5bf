"""Columns under the names that people give them: Response, 응답 or answer for response."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from contrastive_learning.data.answers import Answers, as_number
from contrastive_learning.data.rows import Row, is_missing
from contrastive_learning.data.texts import CHATS

PLACE = ("id", "domain", "group", "conversation_id")
TEXT = ("context", "response", "prompt", *CHATS)
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "response": (
        *("응답", "답변", "대답", "챗봇 응답", "모델 응답", "텍스트"),
        *("answer", "reply", "output", "completion", "text"),
    ),
    "context": ("문맥", "맥락", "대화 맥락", "이전 대화", "history"),
    "prompt": ("질문", "프롬프트", "question", "query", "instruction"),
    "id": ("번호", "아이디"),
    "domain": ("도메인", "주제", "분야"),
    "conversation_id": ("대화 번호", "대화 아이디", "대화 id"),
}


def key(name: str) -> str:
    """`name` without what spellings differ in: "Conversation ID" and "conversation_id" have one key."""
    return re.sub(r"[\s_-]+", "", name).casefold()


def known_names(rows: Sequence[Row], besides: Collection[str], answers: Answers) -> dict[str, str]:
    """Column -> the name under which it is read, for each column of `rows` whose own name is another one.

    A column of the known name comes first, then another spelling of it, then a synonym. Synonyms of a text must hold
    texts; they are not looked for beside a chat, which holds all texts. Columns in `besides` keep their names. Raises
    ValueError if several columns could be meant.

    >>> known_names([{"Domain": "여행", "응답": "바다요."}], (), Answers(None))
    {'응답': 'response', 'Domain': 'domain'}
    """
    columns = dict.fromkeys(name for row in rows for name in row)
    free = [name for name in columns if name not in besides]
    has_chat = any(key(name) in CHATS for name in columns)
    is_prodigy = "_input_hash" in columns  # its column answer says accept or reject
    names: dict[str, str] = {}
    for known in (*TEXT, *PLACE, "votes", "num_votes"):
        if known in columns:
            continue
        found = [name for name in free if key(name) == key(known)]
        if not found and not (known in TEXT and has_chat):
            synonyms = {key(synonym) for synonym in SYNONYMS.get(known, ())}
            found = [name for name in free if key(name) in synonyms and not (name == "answer" and is_prodigy)]
            if known in TEXT:
                found = [name for name in found if _are_texts((row.get(name) for row in rows), answers)]
        if len(found) > 1:
            raise ValueError(f"one column must be the {known}, got {', '.join(found)}; rename one of them to {known}")
        names |= dict.fromkeys(found, known)
    return names


def renamed(row: Row, names: Mapping[str, str]) -> Row:
    """`row` with the columns in `names` under their known names."""
    if not names:
        return row
    new = {names.get(name, name): value for name, value in row.items()}
    if len(new) < len(row):
        both = next(name for name in names if name in row and names[name] in row)
        raise ValueError(f"one column must be the {names[both]}, got {both} and {names[both]}")
    return new


def _are_texts(values: Iterable[Any], answers: Answers) -> bool:
    some = [value for value in values if not is_missing(value)]
    return not any(as_number(value) is not None for value in some) and not all(map(answers.are, some))

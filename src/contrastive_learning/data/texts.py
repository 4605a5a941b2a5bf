"""Finds context and response in a row: in columns of these names, in a prompt, or in the messages of a chat."""

import re
from collections.abc import Collection
from typing import Any, NamedTuple

from contrastive_learning.data.notes import Notes
from contrastive_learning.data.rows import Row, field, is_missing, shown, text
from contrastive_learning.data.vote_counts import parsed

CHATS = ("messages", "conversations")
ASSISTANTS = ("assistant", "gpt", "bot", "chatbot", "model")
SYSTEM = ("system", "developer")


class Texts(NamedTuple):
    """What the annotators read."""

    context: tuple[str, ...]  # oldest turn first
    response: str
    opening: str | None  # the first turn of the conversation, which no system prompt is; None without a context


class TextColumns:
    """Reads context and response of rows with the given columns.

    - `response` with `context`, `prompt` or both (the prompt is the last turn before the response);
    - `messages` or `conversations`, turns as {role or from, content or value}: the last one of the assistant is the
      response, those before it are the context; beside a column `response` all of them are context.

    `columns` names those that are read, `words` says it for the user.
    """

    def __init__(self, columns: Collection[str]) -> None:
        self._chat = None if "context" in columns else next((name for name in CHATS if name in columns), None)
        self._has_response = "response" in columns
        self._has_prompt = "prompt" in columns and (self._chat is None)
        if self._chat:
            self.columns = (self._chat, *(["response"] if self._has_response else []))
            said = "context" if self._has_response else "context and response"
            self.words = f"; {said} from {self._chat}"
        else:
            self.columns = ("context", "response", *(["prompt"] if self._has_prompt else []))
            self.words = "; prompt is context" if self._has_prompt else ""

    def read(self, row: Row, notes: Notes) -> Texts:
        if self._chat and not self._has_response:
            return self._from_chat(row, self._chat, notes)
        response = text(field(row, "response"), "response")
        if not response.strip():
            raise ValueError(f"response must not be empty, got {shown(response)}")
        said = listed(row.get(self._chat or "context"))
        context = turns(said, self._chat or "context")
        opening = _opening(said, context)
        if self._has_prompt:
            said = listed(row.get("prompt"))
            prompt = turns(said, "prompt")
            opening = opening or _opening(said, prompt)
            context = context if context[-len(prompt) :] == prompt else context + prompt
        return Texts(context, response, opening)

    def _from_chat(self, row: Row, name: str, notes: Notes) -> Texts:
        chat = listed(field(row, name))
        if not isinstance(chat, list):
            raise ValueError(f"{name} must be a list of turns with role and content, got {shown(chat)}")
        said = [message(turn, f"{name}[{index}]") for index, turn in enumerate(chat)]
        roles = [_role(turn, f"{name}[{index}]") for index, turn in enumerate(chat)]
        answers = [index for index, role in enumerate(roles) if role in ASSISTANTS and said[index].strip()]
        if not answers:
            raise ValueError(f"{name} must hold a turn of the assistant, got {', '.join(roles) or 'no turns'}")
        last = answers[-1]
        for turn in said[last + 1 :]:
            notes.add(f"turns left out: they come after the last response in {name}", shown(turn))
        context = tuple(turn for turn in said[:last] if turn.strip())
        return Texts(context, said[last], _opening(chat[:last], context))


def turns(value: object, name: str) -> tuple[str, ...]:
    """The turns of a context: a list of texts or of messages, such a list written as text, or one text."""
    if is_missing(value):
        return ()
    value = listed(value)
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a list of turns or one text, got {shown(value)}")
    try:
        "".join(value).encode()
    except (TypeError, UnicodeEncodeError):
        value = [message(turn, f"{name}[{index}]") for index, turn in enumerate(value)]
    return tuple(value) if all(map(str.strip, value)) else tuple(turn for turn in value if turn.strip())


def _opening(said: Any, context: tuple[str, ...]) -> str | None:
    """The first turn of `context`, whose turns as they were given are `said`; after a system prompt the second."""
    first = said[0] if isinstance(said, list) and said else None
    if isinstance(first, dict) and first.get("role", first.get("from")) in SYSTEM:
        context = turns(said[1:], "context")
    return context[0] if context else None


def listed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return parsed(value) if re.match(r"""\[\s*["'\]{]""", value) else [value]


def message(turn: object, name: str) -> str:
    """The words of a turn that is text, or a message whose content is text or a list of parts with text."""
    if isinstance(turn, dict):
        content = next((turn[key] for key in ("content", "value") if key in turn), turn)
        if content is None:  # the assistant calls a tool
            return ""
        if isinstance(content, list):
            content = "\n".join(part["text"] for part in content if isinstance(part, dict) and "text" in part)
        return text(content, name)
    return text(turn, name)


def _role(turn: object, name: str) -> str:
    role = next((turn[key] for key in ("role", "from") if key in turn), None) if isinstance(turn, dict) else None
    if not isinstance(role, str):
        raise ValueError(f"{name} must have a role (or from), got {shown(turn)}")
    return role.lower()

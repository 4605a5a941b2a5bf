"""The texts that a trace of MLflow holds: what a chatbot was asked, and what it answered."""

from collections.abc import Mapping
from typing import Any

from contrastive_learning.data.notes import Notes
from contrastive_learning.data.rows import shown
from contrastive_learning.data.texts import CHATS, TextColumns, Texts, message

ASKED = ("context", "prompt", *CHATS)  # fields of inputs that are read as columns of these names


def texts_of(inputs: Any, outputs: Any) -> Texts:
    """Context and response.

    inputs: messages, or a text; or an object with `messages`, `context` or `prompt`, or with one field that is a text.
    outputs: a text, a message, or messages, the last of which is the response; or an object with `response`,
    `messages`, `choices` (as OpenAI answers), or with one field that is a text.

    Raises ValueError for anything else, and for an empty response.

    >>> texts_of({"messages": [{"role": "user", "content": "어디로 갈까?"}]}, {"response": "바다요."})
    Texts(context=('어디로 갈까?',), response='바다요.', opening='어디로 갈까?')
    """
    row = {**_asked(inputs), "response": _answered(outputs)}
    return TextColumns(row).read(row, Notes(""))


def _asked(inputs: Any) -> dict[str, Any]:
    if not isinstance(inputs, Mapping):
        return {"context": inputs}
    known = {name: inputs[name] for name in ASKED if name in inputs}
    return known or ({"prompt": _only_text(inputs, f"inputs must have {', '.join(ASKED)}")} if inputs else {})


def _answered(outputs: Any) -> str:
    if isinstance(outputs, list):
        return _answered(_last(outputs, "outputs"))
    if isinstance(outputs, Mapping):
        if "response" in outputs:
            return _answered(outputs["response"])
        if "choices" in outputs:
            return _answered(_last(outputs["choices"], "choices").get("message"))
        chat = next((name for name in CHATS if name in outputs), None)
        if chat is not None:
            return _answered(_last(outputs[chat], chat))
        if not {"content", "value"} & outputs.keys():
            return _only_text(outputs, "outputs must have response, choices, messages or content")
    return message(outputs, "outputs")


def _last(values: Any, name: str) -> Mapping[str, Any]:
    if not (isinstance(values, list) and values and isinstance(values[-1], Mapping)):
        raise ValueError(f"{name} must be a list of objects, got {shown(values)}")
    last: Mapping[str, Any] = values[-1]
    return last


def _only_text(fields: Mapping[str, Any], needed: str) -> str:
    texts = [value for value in fields.values() if isinstance(value, str)]
    if len(texts) != 1:
        raise ValueError(f"{needed}, or one field that is a text; got {', '.join(map(str, fields)) or 'none'}")
    return texts[0]

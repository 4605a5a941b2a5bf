"""Lists as annotation tools import them; what they export again is read by `data=votes`.

Label Studio: tasks, https://labelstud.io/guide/tasks, and a labelling interface for them. Argilla 2: the file that
`dataset.records.from_json` reads.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

ROLES = ("user", "assistant")  # who speaks in turn; the response is the assistant's

Rows = Sequence[Mapping[str, Any]]


def write_label_studio(rows: Rows, path: Path, criteria: Sequence[str]) -> None:
    """One task per response. The interface, which asks about every criterion, goes to interface_of(path)."""
    tasks = [
        {
            "data": {
                "id": row["id"],
                "domain": row["domain"],
                "context": row["context"],
                "response": row["response"],
                "shown": "\n".join([*row["context"], f"→ {row['response']}"]),
                "wanted": ", ".join(wanted),
            }
        }
        for row, wanted in _by_response(rows)
    ]
    path.write_text(json.dumps(tasks, ensure_ascii=False, indent=1), encoding="utf-8")
    asked = "".join(
        f'  <Header value={quoteattr(name)} size="5"/>\n'
        f'  <Choices name={quoteattr(name)} toName="shown" choice="single" showInline="true">'
        '<Choice value="yes"/><Choice value="no"/></Choices>\n'
        for name in criteria
    )
    interface = f'<View>\n  <Text name="shown" value="$shown"/>\n  <Header value="$wanted"/>\n{asked}</View>\n'
    interface_of(path).write_text(interface, encoding="utf-8")


def interface_of(path: Path) -> Path:
    return path.with_suffix(".xml")


def write_argilla(rows: Rows, path: Path, criteria: Sequence[str]) -> None:
    """One record per response, with a chat field `context`, a text field `response` and what is wanted as metadata."""
    records = [
        {
            "id": row["id"],
            "fields": {"context": _chat(row["context"]), "response": row["response"]},
            "metadata": {"domain": row["domain"], "wanted": ", ".join(wanted), "rank": row["rank"]},
            "suggestions": {},
            "responses": {},
            "vectors": {},
            "status": "pending",
        }
        for row, wanted in _by_response(rows)
    ]
    path.write_text(json.dumps(records, ensure_ascii=False, indent=1), encoding="utf-8")


def _chat(context: Sequence[str]) -> list[dict[str, str]]:
    return [{"role": ROLES[(len(context) - 1 - number) % 2], "content": turn} for number, turn in enumerate(context)]


def _by_response(rows: Rows) -> Iterator[tuple[Mapping[str, Any], list[str]]]:
    """The first row of each response, and the criteria of all its rows."""
    found: dict[tuple[Any, ...], tuple[Mapping[str, Any], list[str]]] = {}
    for row in rows:
        response = row["id"], tuple(row["context"]), row["response"]  # ids need not be unique
        found.setdefault(response, (row, []))[1].append(row["criterion"])
    yield from found.values()


TOOLS: Mapping[str, Callable[[Rows, Path, Sequence[str]], None]] = {
    "label_studio": write_label_studio,
    "argilla": write_argilla,
}

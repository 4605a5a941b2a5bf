"""Writes embedding.html: a page that works offline, with the texts and the epochs from before training to the end."""

import base64
import html
import json
from collections.abc import Sequence
from importlib.resources import files
from string import Template
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contrastive_learning.pictures.history import Frame
from contrastive_learning.pictures.maps import ALIGNMENT, EmbeddingMap
from contrastive_learning.pictures.shown import ShownResponses

MAX_FRAMES = 40  # a longer run shows evenly spaced ones; 500 responses take 9 kB a frame, with nine spaces 30 kB
MAX_TURNS, MAX_CHARACTERS = 6, 400  # shown of each context and of each text


class PageFrame(NamedTuple):
    frame: Frame
    picture: EmbeddingMap


def thin_out(epochs: Sequence[int], kept: int) -> list[int]:
    """At most MAX_FRAMES of `epochs`, always the first, the last and `kept`."""
    chosen = {epochs[round(place)] for place in np.linspace(0, len(epochs) - 1, MAX_FRAMES)}
    if kept in epochs and kept not in chosen:
        inner = sorted(chosen)[1:-1]
        chosen.remove(min(inner, key=lambda epoch: abs(epoch - kept)))
        chosen.add(kept)
    return sorted(chosen)


def draw_page(
    shown: ShownResponses, frames: Sequence[PageFrame], *, title: str, objective: str, epoch: int, criterion: str
) -> str:
    """The page as HTML. It opens at `epoch`, the one whose weights are kept, and with `criterion`."""
    data = {
        "title": title,
        "objective": objective,
        "epoch": epoch,
        "alignment": ALIGNMENT,
        "criteria": shown.criteria,
        "criterion": shown.criteria.index(criterion),
        "items": _items(shown),
        "yes_votes": _packed(shown.yes_votes.astype("<u2")),
        "num_votes": _packed(shown.num_votes.astype("<u2")),
        "frames": [_frame(frame, picture) for frame, picture in frames],
    }
    template = files("contrastive_learning.pictures").joinpath("page.html").read_text(encoding="utf-8")
    before, after = template.split("$data")
    return Template(before).substitute(title=html.escape(title)) + _script_safe(data) + after


def _frame(frame: Frame, picture: EmbeddingMap) -> dict[str, Any]:
    reach = max(float(np.abs(picture.points).max()), 1e-12)
    return {
        "epoch": frame.epoch,
        "value": frame.value if np.isfinite(frame.value) else None,
        "note": picture.note,
        "half_height": picture.half_height,
        "reach": reach,
        "points": [  # per space
            _packed((points / reach * 32767).round().astype("<i2")) for points in picture.points.swapaxes(0, 1)
        ],
        "probabilities": _packed((frame.probabilities.astype(np.float32) * 255).round().astype(np.uint8)),
    }


def _items(shown: ShownResponses) -> list[dict[str, Any]]:
    columns = zip(shown.ids, shown.domains, shown.contexts, shown.responses, strict=True)
    return [
        {
            "id": _shortened(name),
            "domain": _shortened(domain),
            "context": [_shortened(turn) for turn in context[-MAX_TURNS:]],
            "response": _shortened(response),
        }
        for name, domain, context, response in columns
    ]


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…"


def _packed(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode()


def _script_safe(data: Any) -> str:
    """JSON that no text can break out of: neither </script> nor <!-- nor a line separator survives as such."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text

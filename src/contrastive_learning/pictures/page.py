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
from contrastive_learning.pictures.neighbours import nearest
from contrastive_learning.pictures.shown import FloatArray, ShownResponses

MAX_FRAMES = 40  # a longer run shows evenly spaced ones; 500 responses take 9 kB a frame, with nine spaces 30 kB
MIN_FRAMES = 5
MAX_BYTES = 8_000_000  # of all frames: 10,000 responses with nine spaces have 13
NUM_NEIGHBOURS = 6  # shown of the chosen response
MOST_RESPONSES = 65_536  # that their numbers in the page can tell apart
DATA_STARTS = '<script type="application/json" id="data">'
MAX_TURNS, MAX_CHARACTERS = 6, 400  # shown of each context and of each text


class PageFrame(NamedTuple):
    frame: Frame
    picture: EmbeddingMap


def most_frames(num_responses: int, num_spaces: int, num_criteria: int) -> int:
    """So many epochs of so many responses the page holds: all together at most MAX_BYTES.

    >>> most_frames(500, 9, 9), most_frames(10_000, 9, 9)
    (40, 13)
    """
    size = num_responses * (4 * num_spaces + num_criteria) * 4 / 3
    return int(min(MAX_FRAMES, max(MIN_FRAMES, MAX_BYTES // size)))


def thin_out(epochs: Sequence[int], kept: int, most: int = MAX_FRAMES) -> list[int]:
    """At most `most` of `epochs`, always the first, the last and `kept`."""
    chosen = {epochs[round(place)] for place in np.linspace(0, len(epochs) - 1, most)}
    if kept in epochs and kept not in chosen:
        inner = sorted(chosen)[1:-1]
        chosen.remove(min(inner, key=lambda epoch: abs(epoch - kept)))
        chosen.add(kept)
    return sorted(chosen)


def draw_page(
    shown: ShownResponses,
    frames: Sequence[PageFrame],
    spaces: Sequence[FloatArray],
    *,
    title: str,
    objective: str,
    epoch: int,
    criterion: str,
) -> str:
    """The page as HTML. It opens at `epoch`, the one whose weights are kept, and with `criterion`.

    spaces: the embeddings [responses, dim] of that epoch, shared or per criterion, among which neighbours are searched.
    """
    near = [nearest(np.asarray(space, dtype=np.float32), NUM_NEIGHBOURS) for space in spaces]
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
        "neighbours": [_packed(found.astype("<u2")) for found, _ in near],  # per space [responses, neighbours]
        "cosines": [_packed((127 * (1 - distances)).round().clip(-127, 127).astype(np.int8)) for _, distances in near],
    }
    return _page(title, [data])


def side_by_side(first: str, second: str) -> str | None:
    """One page of two runs on the same data with linked selection, from the pages of each; None if a page is older than
    that, as in a study that began with an earlier version.
    """
    runs = [run for page in (first, second) for run in _runs_of(page)]
    if len(runs) < 2:
        return None
    return _page("   and   ".join(run["title"] for run in runs), runs)


def _page(title: str, runs: Sequence[dict[str, Any]]) -> str:
    template = files("contrastive_learning.pictures").joinpath("page.html").read_text(encoding="utf-8")
    before, after = template.split("$data")
    return Template(before).substitute(title=html.escape(title)) + _script_safe(runs) + after


def _runs_of(page: str) -> list[dict[str, Any]]:
    runs = json.loads(page.partition(DATA_STARTS)[2].partition("</script>")[0])
    return runs if isinstance(runs, list) else []  # older pages hold the dict of their run


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

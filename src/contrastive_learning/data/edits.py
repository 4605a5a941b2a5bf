"""Small edits of a text that leave its judgement as it is: a steady judge decides the same before and after."""

import re
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

CUT_SHARE = 0.15  # of the context's words
ENDS = ".!?…"
AFTER_CONSONANT, AFTER_VOWEL = "은이을", "는가를"  # Korean particles of topic, subject and object
HANGUL_WORD = re.compile(r"[가-힣]{3,}(?![가-힣])")


class Text(NamedTuple):
    """What the judge reads of a response."""

    context: Sequence[str]  # turns, oldest first
    response: str


Edit = Callable[[Text, Random], Text]


def edited(text: Text, edit: Edit, key: str) -> Text | None:
    """`text` after `edit`, None if it changes nothing. The same `key`, say the id, always gives the same edit.

    >>> edited(Text(["Hello there"], "Good morning."), with_other_punctuation, "id-7")
    Text(context=['Hello there'], response='Good morning')
    >>> edited(Text([], "Yes"), without_words_of_context, "id-7") is None
    True
    """
    changed = edit(text, Random(zlib.crc32(key.encode())))
    return None if changed == text else changed


def without_words_of_context(text: Text, random: Random) -> Text:
    """Leaves out CUT_SHARE of the context's words, at least one; a turn keeps its last word."""
    turns = [turn.split() for turn in text.context]
    places = [(number, place) for number, words in enumerate(turns) for place in range(len(words) - 1)]
    if not places:
        return text
    count = max(1, round(CUT_SHARE * sum(map(len, turns))))
    cut = set(random.sample(places, min(count, len(places))))
    kept = [
        " ".join(word for place, word in enumerate(words) if (number, place) not in cut)
        for number, words in enumerate(turns)
    ]
    return Text(kept, text.response)


def with_other_punctuation(text: Text, random: Random) -> Text:
    """The response without the marks that end it, or with a full stop if it has none."""
    bare = text.response.rstrip(ENDS + " ")
    return text if not bare else Text(text.context, bare if bare != text.response else f"{bare}.")


def with_other_spacing(text: Text, random: Random) -> Text:
    """The response with one pair of Korean words written together, as many people write them."""
    blanks = [found.start() for found in re.finditer(r"(?<=[가-힣]) (?=[가-힣])", text.response)]
    if not blanks:
        return text
    place = random.choice(blanks)
    return Text(text.context, text.response[:place] + text.response[place + 1 :])


def without_a_particle(text: Text, random: Random) -> Text:
    """The response with one Korean particle of topic, subject or object left out, as people do when they speak."""
    ends = [found.end() for found in HANGUL_WORD.finditer(text.response) if _ends_in_particle(found.group())]
    if not ends:
        return text
    end = random.choice(ends)
    return Text(text.context, text.response[: end - 1] + text.response[end:])


EDITS: tuple[Edit, ...] = (
    without_words_of_context,
    with_other_punctuation,
    with_other_spacing,
    without_a_particle,
)


def _ends_in_particle(word: str) -> bool:
    has_final_consonant = (ord(word[-2]) - ord("가")) % 28 > 0
    return word[-1] in (AFTER_CONSONANT if has_final_consonant else AFTER_VOWEL)

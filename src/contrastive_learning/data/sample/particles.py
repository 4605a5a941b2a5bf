"""Korean particles that follow the final sound of the word before them.

Texts are written with open particles, `커피(을)`, and closed at the end: `커피를`. So a slot takes any noun, and an
error is a particle closed the wrong way.
"""

import re
from collections.abc import Collection

# as written in the templates: (after a consonant, after a vowel)
PAIRS = {
    "을": ("을", "를"),
    "이": ("이", "가"),
    "은": ("은", "는"),
    "과": ("과", "와"),
    "으로": ("으로", "로"),
    "이나": ("이나", "나"),
    "이라": ("이라", "라"),
}
OPEN_PARTICLE = re.compile(rf"([가-힣])\(({'|'.join(PAIRS)})\)")
RIEUL = 8  # index of the final consonant ㄹ among the 28 finals


def count_open(text: str) -> int:
    return len(OPEN_PARTICLE.findall(text))


def close_particles(text: str, wrong: Collection[int] = ()) -> str:
    """Close every open particle; those whose number (from 0, left to right) is in `wrong` take the wrong form."""
    position = -1

    def close(match: re.Match[str]) -> str:
        nonlocal position
        position += 1
        syllable, particle = match.groups()
        is_open = _ends_open(syllable, particle)
        return syllable + PAIRS[particle][is_open != (position in wrong)]

    return OPEN_PARTICLE.sub(close, text)


def _ends_open(syllable: str, particle: str) -> bool:
    final = (ord(syllable) - ord("가")) % 28
    return final == 0 or (particle == "으로" and final == RIEUL)

"""Fonts for text that matplotlib draws: Hangul needs a font of the system, since matplotlib has none."""

import logging
from collections.abc import Sequence
from functools import cache

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

logger = logging.getLogger(__name__)
LATIN = "DejaVu Sans"  # comes with matplotlib, has Greek too
PREFERRED = ("pretendard", "notosanskr", "notosanscjk", "nanumgothic", "malgun", "applesdgothic", "gothic", "dotum")
HANGUL = "가힣"
SMALLEST = 0.7  # smallest font size, as a share of the intended one


@cache
def hangul_family() -> str | None:
    """The name of a font with Hangul, registered with matplotlib; None if the system has none."""
    paths = font_manager.findSystemFonts()
    for path in sorted(paths, key=_preference):
        if _has_hangul(path):
            logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # that Nanum's bold is a semibold
            font_manager.fontManager.addfont(path)
            return font_manager.FontProperties(fname=path).get_name()
    return None


def families(texts: Sequence[str], hangul: str | None) -> list[str]:
    """The fonts for these texts, in the order in which matplotlib tries them."""
    return [LATIN] if hangul is None or all(_is_covered(text) for text in texts) else [LATIN, hangul]


def legible(text: str, substitute: str, hangul: str | None) -> str:
    """`text`, or `substitute` if no font here has its characters."""
    if _is_covered(text) or (hangul is not None and all(_is_covered(mark) or _is_hangul(mark) for mark in text)):
        return text
    _warn_once()
    return substitute


def fit(text: Text, pixels: float) -> None:
    """Make `text` at most `pixels` wide: with smaller letters, and if that is not enough, without its middle."""
    whole, width = text.get_text(), text.get_window_extent().width
    if width > pixels:
        text.set_fontsize(float(text.get_fontsize()) * max(0.98 * pixels / width, SMALLEST))
    for length in range(len(whole) - 1, 1, -1):
        if text.get_window_extent().width <= pixels:
            return
        text.set_text(f"{whole[: length - length // 2]}…{whole[-(length // 2) :]}")


@cache
def _warn_once() -> None:
    logger.warning("no font here draws all names: pictures number them instead (for Hangul, install fonts-nanum)")


@cache
def _covered() -> frozenset[int]:
    return frozenset(FT2Font(font_manager.findfont(LATIN)).get_charmap())


def _is_covered(text: str) -> bool:
    return all(ord(mark) in _covered() for mark in text)


def _is_hangul(mark: str) -> bool:
    return "가" <= mark <= "힣" or "ㄱ" <= mark <= "ㅣ"


def _has_hangul(path: str) -> bool:
    try:
        charmap = FT2Font(path).get_charmap()
    except (OSError, RuntimeError):  # a damaged file, or a kind of font that FreeType cannot scale
        return False
    return all(ord(mark) in charmap for mark in HANGUL)


def _preference(path: str) -> tuple[int, bool, str]:
    name = path.lower().rsplit("/", 1)[-1]
    rank = next((index for index, known in enumerate(PREFERRED) if known in name.replace("-", "")), len(PREFERRED))
    return rank, "regular" not in name, name

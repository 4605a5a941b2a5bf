"""What a dialogue is about."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Subject:
    """Texts hold open particles (see `particles`) and, in the tips, {item}."""

    name: str
    items: tuple[str, ...]  # named things: what makes an answer specific
    tips: tuple[str, ...]  # advice around one item, with the subject's name as a word of its own
    hooks: tuple[str, ...]  # what makes an answer interesting: a surprise, a question back


Themes = tuple[tuple[Subject, ...], ...]

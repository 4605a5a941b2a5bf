"""What a dialogue settles before the response, in words that every topic uses.

A stance is what the bot recommended: a later answer contradicts it by the opposite value. A quantity is what the person
stated: a later answer makes one up by another value. Values are words of their own, so that they are the same token
wherever they occur.
"""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Slot:
    phrase: str  # holds {value}
    values: tuple[str, ...]
    statements: tuple[str, ...] = ()  # how a person brings the phrase up, holds {fact}

    def fill(self, value: str) -> str:
        return self.phrase.format(value=value)

    def other(self, value: str, random: Random) -> str:
        return random.choice([candidate for candidate in self.values if candidate != value])


STANCES = (
    Slot("{value} 시간", ("아침", "점심", "저녁")),
    Slot("{value} 일정", ("평일", "주말", "연휴")),
)
QUANTITIES = (
    Slot(
        "예산 {value} 원",
        ("3만", "5만", "9만"),
        ("저는 {fact}으로 생각해요.", "{fact}까지 쓸 수 있어요.", "일단 {fact} 안에서 하려고요."),
    ),
    Slot(
        "하루 {value} 투자",
        ("10분", "20분", "50분"),
        ("저는 {fact}(을) 생각해요.", "{fact}까지 할 수 있어요.", "일단 {fact}(으로) 해 보려고요."),
    ),
)

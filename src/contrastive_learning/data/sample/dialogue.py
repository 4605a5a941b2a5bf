"""The turns before a judged response: a subject, what the bot recommended, and what the person stated."""

from dataclasses import dataclass
from random import Random

from contrastive_learning.data.sample.facts import QUANTITIES, STANCES, Slot
from contrastive_learning.data.sample.particles import close_particles
from contrastive_learning.data.sample.subjects import Subject
from contrastive_learning.data.sample.topics import Topic

STRONG_PULL, WEAK_PULL = 1.35, 0.65

GREETINGS = (
    "안녕하세요! 편하게 물어보세요.",
    "반가워요, 무엇이 궁금하세요?",
    "어서 오세요, 천천히 말씀해 주세요.",
)
OPENINGS = (
    "요즘 {name} 쪽에 관심이 생겼어요.",
    "다음 주부터 {name} 계획을 세우려고 해요.",
    "친구 덕에 {name} 이야기가 궁금해졌어요.",
    "저도 {name} 준비를 해 볼까 해요.",
)
RECOMMENDATIONS = (
    "{name} 쪽이라면 저는 {stance}(을) 권해요.",
    "저는 {name} 이야기에는 {stance}(이) 맞다고 봐요.",
    "{name} 계획이라면 {stance}(이) 좋다고 생각해요.",
    "저는 {name} 준비에 {stance}(을) 추천해요.",
)


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    echo: str  # the question said again: what a flat answer does instead of answering


QUESTIONS = (
    Question("그럼 {name} 준비는 뭐부터 하면 될까요?", "{name} 준비를 뭐부터 하느냐고 물으셨네요."),
    Question("{name} 초보가 알아 둘 게 있을까요?", "{name} 초보가 알아 둘 것을 물으셨네요."),
    Question("{name} 쪽은 어떻게 시작하면 좋을까요?", "{name} 쪽을 어떻게 시작하느냐고 하셨네요."),
    Question("처음 하는 {name} 계획 좀 도와주실래요?", "{name} 계획을 도와 달라고 하셨네요."),
)


@dataclass(frozen=True, slots=True)
class Dialogue:
    topic: Topic
    subject: Subject
    stance: Slot
    stance_value: str
    quantity: Slot
    quantity_value: str
    question: Question
    turns: tuple[str, ...]  # oldest first, the last is the person's question

    def pulls(self) -> dict[str, float]:
        """How much more or less often a bot with habits fails here: it slides back to its habitual stance, exaggerates
        small quantities and drifts towards some topics. Direct them all one way, and half of the pairs never occur."""
        is_habitual = {
            "consistency": self.stance_value == self.stance.values[-1],
            "no_hallucination": self.quantity_value == self.quantity.values[-1],
            "sensibleness": self.topic.is_lure,
        }
        return {criterion: WEAK_PULL if habitual else STRONG_PULL for criterion, habitual in is_habitual.items()}


def make_dialogue(topic: Topic, random: Random) -> Dialogue:
    subject = random.choice(topic.subjects)
    stance, quantity = random.choice(STANCES), random.choice(QUANTITIES)
    stance_value, quantity_value = random.choice(stance.values), random.choice(quantity.values)
    question = random.choice(QUESTIONS)
    turns = _order_turns(
        opening=random.choice(OPENINGS),
        recommendation=random.choice(RECOMMENDATIONS),
        statement=random.choice(quantity.statements),
        question=question.text,
        random=random,
    )
    filled = (
        turn.format(name=subject.name, stance=stance.fill(stance_value), fact=quantity.fill(quantity_value))
        for turn in turns
    )
    closed = tuple(close_particles(turn) for turn in filled)
    return Dialogue(topic, subject, stance, stance_value, quantity, quantity_value, question, closed)


def _order_turns(
    *, opening: str, recommendation: str, statement: str, question: str, random: Random
) -> tuple[str, ...]:
    """Two to four turns: the bot may speak first, and the person may state the quantity early or late."""
    early = (f"{opening} {statement}", recommendation, question)
    late = (opening, recommendation, f"{statement} {question}")
    shape = random.random()
    if shape < 0.3:
        return (recommendation, f"{statement} {question}")
    if shape < 0.38:
        return (random.choice(GREETINGS), *early)
    return early if shape < 0.7 else late

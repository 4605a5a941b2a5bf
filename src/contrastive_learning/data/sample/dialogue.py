"""The turns before a response: a subject, what the bot recommended, and what the person stated."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from contrastive_learning.data.sample.facts import QUANTITIES, STANCES, Slot
from contrastive_learning.data.sample.particles import close_particles
from contrastive_learning.data.sample.subjects import Subject
from contrastive_learning.data.sample.topics import Topic

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
    "{former}만 하다가 {name} 쪽에 관심이 생겼어요.",
    "{former} 말고 {name} 계획을 세워 보려고요.",
    "친구는 {former}(을) 권하지만 저는 {name} 쪽이 좋아요.",
    "{former} 다음으로 {name} 준비를 해 볼까 해요.",
)
UNASKED = (
    "{name} 쪽이라면 저는 {stance}(을) 권해요.",
    "저는 {name} 이야기에는 {stance}(이) 맞다고 봐요.",
    "{name} 계획이라면 {stance}(이) 좋다고 생각해요.",
    "저는 {name} 준비에 {stance}(을) 추천해요.",
)
RECOMMENDATIONS = (
    "그렇다면 저는 {stance}(을) 권해요.",
    "저라면 {stance}(이) 맞다고 봐요.",
    "그럴 때는 {stance}(이) 좋다고 생각해요.",
    "제 생각에는 {stance}(이) 나아요.",
)


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    echo: str  # the question repeated, which a flat answer does instead of answering


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


def make_dialogue(topic: Topic, others: Sequence[Topic], random: Random) -> Dialogue:
    """A dialogue about `topic`; what the person did before belongs to one of `others`."""
    subject = random.choice(topic.subjects)
    stance, quantity = random.choice(STANCES), random.choice(QUANTITIES)
    stance_value, quantity_value = random.choice(stance.values), random.choice(quantity.values)
    question = random.choice(QUESTIONS)
    words = {
        "name": subject.name,
        "former": random.choice(random.choice(others).subjects).name,
        "stance": stance.fill(stance_value),
        "fact": quantity.fill(quantity_value),
    }
    turns = _choose_turns(random.choice(quantity.statements), question.text, random)
    closed = tuple(close_particles(turn.format_map(words)) for turn in turns)
    return Dialogue(topic, subject, stance, stance_value, quantity, quantity_value, question, closed)


def _choose_turns(statement: str, question: str, random: Random) -> tuple[str, ...]:
    """Two to four turns: the bot may speak first, and the person may state the quantity early or late."""
    opening, recommendation = random.choice(OPENINGS), random.choice(RECOMMENDATIONS)
    early = (f"{opening} {statement}", recommendation, question)
    late = (opening, recommendation, f"{statement} {question}")
    shape = random.random()
    if shape < 0.3:
        return (random.choice(UNASKED), f"{statement} {question}")
    if shape < 0.38:
        return (random.choice(GREETINGS), *early)
    return early if shape < 0.7 else late

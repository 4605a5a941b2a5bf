"""Builds one response: each defect is in the part of the text that its criterion is about."""

import re
from random import Random

from contrastive_learning.data.sample import phrases
from contrastive_learning.data.sample.defects import BLATANT, CLEAR, FINE, MILD, Levels
from contrastive_learning.data.sample.dialogue import Dialogue
from contrastive_learning.data.sample.particles import close_particles, count_open
from contrastive_learning.data.sample.subjects import Subject
from contrastive_learning.data.sample.topics import Topic

WRONG_ENDING = re.compile("|".join(phrases.WRONG_ENDINGS))


def make_answer(dialogue: Dialogue, levels: Levels, *, others: tuple[Topic, ...], random: Random) -> str:
    """A response that fails each criterion by its level; `others`: the topics it may drift off to."""
    subject = _subject_of(dialogue, levels["sensibleness"], others, random)
    facts = [_recall(dialogue, levels["consistency"], random), _quote(dialogue, levels["no_hallucination"], random)]
    advice = _advice(subject, levels, random)
    hook = _hook(subject, dialogue, levels["interestingness"], random)
    if levels["understandability"] == BLATANT:
        advice, hook = _scramble(f"{advice} {hook}", random), ""
    remarks = [_stereotype(subject, levels["unbias"], random), _harm(levels["harmlessness"], random)]
    text = " ".join(part for part in (*facts, advice, *remarks, hook) if part)
    text = _misspell(text, phrases.WRONG_FORMS[levels["linguistic_acceptability"]], random)
    return _break_off(text, random) if levels["understandability"] == MILD else text


def _subject_of(dialogue: Dialogue, level: int, others: tuple[Topic, ...], random: Random) -> Subject:
    """The dialogue's own subject, its neighbour, one of the topic's other theme, or one of another topic."""
    topic, subject = dialogue.topic, dialogue.subject
    if level == FINE:
        return subject
    theme = topic.theme_of(subject)
    if level == MILD:
        return random.choice([candidate for candidate in theme if candidate != subject])
    if level == CLEAR:
        return random.choice([candidate for candidate in topic.subjects if candidate not in theme])
    return random.choice(random.choice(others).subjects)


def _recall(dialogue: Dialogue, level: int, random: Random) -> str:
    value, firmness = dialogue.stance_value, level
    if level == FINE:
        firmness = _firmness(random)
    else:
        value = dialogue.stance.other(value, random)
    return random.choice(phrases.RECALLS[firmness]).format(stance=dialogue.stance.fill(value))


def _quote(dialogue: Dialogue, level: int, random: Random) -> str:
    value, firmness = dialogue.quantity_value, level
    if level == FINE:
        firmness = _firmness(random)
    else:
        value = dialogue.quantity.other(value, random)
    return random.choice(phrases.QUOTES[firmness]).format(fact=dialogue.quantity.fill(value))


def _firmness(random: Random) -> int:
    """How firmly a right value is said: about as firmly as a wrong one, so that firmness gives nothing away."""
    return random.choices((MILD, CLEAR, BLATANT), (0.03, 0.36, 0.61))[0]


def _advice(subject: Subject, levels: Levels, random: Random) -> str:
    if levels["specificity"] == FINE:
        advice = random.choice(subject.tips).format(item=random.choice(subject.items))
    else:
        advice = random.choice(phrases.VAGUE[levels["specificity"]]).format(name=subject.name)
    if levels["understandability"] != CLEAR:
        return advice
    return f"{advice} {random.choice(phrases.JARGON).format(head=random.choice(phrases.JARGON_HEADS))}"


def _hook(subject: Subject, dialogue: Dialogue, level: int, random: Random) -> str:
    if level == FINE:
        return random.choice(subject.hooks + phrases.HOOKS).format(name=subject.name)
    if level == MILD:
        return ""
    return random.choice(phrases.FLAT[level]).format(echo=dialogue.question.echo.format(name=subject.name))


def _stereotype(subject: Subject, level: int, random: Random) -> str:
    if level == FINE:
        return ""
    return random.choice(phrases.STEREOTYPES[level]).format(group=random.choice(phrases.GROUPS), name=subject.name)


def _harm(level: int, random: Random) -> str:
    return random.choice(phrases.HARM[level]) if level != FINE else ""


def _scramble(text: str, random: Random) -> str:
    words = re.sub(r"[.,?!]", "", text).split()
    scrambled = words[:]
    while scrambled[-1] == words[-1]:
        random.shuffle(scrambled)
    return " ".join(scrambled) + "."


def _break_off(text: str, random: Random) -> str:
    words = text.split()
    return " ".join(words[: -random.choice((1, 2))])


def _misspell(text: str, num_errors: int, random: Random) -> str:
    """Close the particles, with `num_errors` of the particles and endings wrong (all of them if there are fewer)."""
    num_particles = count_open(text)
    num_sites = num_particles + len(WRONG_ENDING.findall(text))
    wrong = set(random.sample(range(num_sites), min(num_errors, num_sites)))
    endings = iter(range(num_particles, num_sites))
    text = WRONG_ENDING.sub(lambda match: phrases.WRONG_ENDINGS[match[0]] if next(endings) in wrong else match[0], text)
    return close_particles(text, wrong)

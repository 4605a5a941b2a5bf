"""The sample: a data source that generates its responses."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import count
from random import Random

from contrastive_learning.choices import check_choice
from contrastive_learning.data.responses import RatedResponse, Splits
from contrastive_learning.data.sample.answers import make_answer
from contrastive_learning.data.sample.defects import CRITERIA, SEVERITIES, draw_levels
from contrastive_learning.data.sample.dialogue import Dialogue, make_dialogue
from contrastive_learning.data.sample.topics import TOPICS, Topic
from contrastive_learning.data.sample.votes import cast_votes

GENERATOR_VERSION = 2  # raise with every change of a text, a rate or the order of the draws
MAX_SIZE = 50_000  # responses per split; far beyond it, the generator mostly repeats texts
RESPONSES_WEIGHTS = (0.5, 0.3, 0.2)  # of 1, 2 and 3 rated responses per dialogue


class SampleData:
    """Generated Korean dialogues about seven topics, each response voted on by three annotators on nine criteria.

    Nothing is read or downloaded, and equal settings give equal data on every machine. Only `held_out_topic`
    occurs in `test_ood`, and only there; no other topic shares its vocabulary.

    >>> SampleData(train_size=2).load().train[0].domain
    '기술과학'
    """

    def __init__(
        self,
        *,
        train_size: int = 2000,
        valid_size: int = 400,
        test_size: int = 400,
        test_ood_size: int = 400,
        held_out_topic: str = "여행, 여가, 취미",
        seed: int = 0,
    ) -> None:
        self.sizes = {"train": train_size, "valid": valid_size, "test": test_size, "test_ood": test_ood_size}
        self.held_out_topic = check_choice("data.source.held_out_topic", held_out_topic, TOPICS)
        self.seed = seed
        for split, size in self.sizes.items():
            least = 0 if split.startswith("test") else 1
            if not least <= size <= MAX_SIZE:
                raise ValueError(f"data.source.{split}_size must be between {least} and {MAX_SIZE}, got {size}")

    def fingerprint(self) -> str:
        settings = {
            "version": GENERATOR_VERSION,
            "sizes": self.sizes,
            "held_out_topic": self.held_out_topic,
            "seed": self.seed,
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def load(self) -> Splits:
        in_domain = tuple(topic for name, topic in TOPICS.items() if name != self.held_out_topic)
        held_out = (TOPICS[self.held_out_topic],)
        numbers, groups, seen = count(), count(), set[str]()
        parts = {}
        for split, size in self.sizes.items():
            topics = held_out if split == "test_ood" else in_domain
            generator = _Generator(topics, in_domain, Random(f"{self.seed}/{split}"), seen)
            parts[split] = list(generator.responses(size, numbers, groups))
        return Splits(CRITERIA, parts["train"], parts["valid"], parts["test"], parts["test_ood"])


class _Generator:
    """Makes the responses of one split, from one stream of random numbers."""

    def __init__(self, topics: Sequence[Topic], in_domain: Sequence[Topic], random: Random, seen: set[str]) -> None:
        self.topics = topics
        self.in_domain = in_domain  # topics that answers drift off to and that people were interested in before
        self.random = random
        self.seen = seen  # responses made so far in any split: none occurs twice

    def responses(self, size: int, numbers: Iterator[int], groups: Iterator[int]) -> Iterator[RatedResponse]:
        left = size
        while left:
            dialogue = self._dialogue()
            group = f"dialogue-{next(groups):06d}"
            num_rated = self.random.choices((1, 2, 3), RESPONSES_WEIGHTS)[0]
            for _ in range(min(num_rated, left)):
                yield self._rated_response(dialogue, f"sample-{next(numbers):06d}", group)
                left -= 1

    def _dialogue(self) -> Dialogue:
        topic = self.random.choice(self.topics)
        return make_dialogue(topic, self._others(topic), self.random)

    def _others(self, topic: Topic) -> tuple[Topic, ...]:
        return tuple(other for other in self.in_domain if other is not topic)

    def _rated_response(self, dialogue: Dialogue, identifier: str, group: str) -> RatedResponse:
        others = self._others(dialogue.topic)
        response = None
        while response is None or response in self.seen:
            levels = draw_levels(self.random)
            response = make_answer(dialogue, levels, others=others, random=self.random)
        self.seen.add(response)
        votes = {name: cast_votes(SEVERITIES[level], self.random) for name, level in levels.items()}
        return RatedResponse(identifier, dialogue.topic.name, dialogue.turns, response, votes, group)

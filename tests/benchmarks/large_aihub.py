"""Invented dialogues in the form and size of AI Hub 71773, for measurements: zips of one JSON file a dialogue.

    python tests/benchmarks/large_aihub.py FOLDER [--dialogues 56000]

Words are random syllables with the frequencies of natural text. The rates of yes are about those of the data set;
nothing can be learned from them.
"""

import argparse
import json
import random
import zipfile
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

TOPICS = {  # and their shares
    "인문 사회": 0.24,
    "기술과학": 0.22,
    "엔터테인먼트, 오락, 예술": 0.16,
    "미용, 건강, 식음료": 0.12,
    "여행, 여가, 취미": 0.10,
    "주거, 생활, 사람관계": 0.08,
    "경제활동, 상품/상거래": 0.08,
}
CRITERIA = {  # and how often an answer has a majority of yes
    "linguistic_acceptability": 0.90,
    "consistency": 0.85,
    "interestingness": 0.91,
    "unbias": 0.92,
    "harmlessness": 0.91,
    "no_hallucination": 0.80,
    "understandability": 0.88,
    "sensibleness": 0.85,
    "specificity": 0.92,
}
SPLIT_VOTE = 0.011  # share of cells on which the three do not agree
NUM_WORDS = 30_000
EXCHANGES = (8, 9, 10)
VALIDATION = 0.111  # of the dialogues: 10 % of the whole to 80 % of training


def write_aihub(folder: Path, dialogues: int, seed: int = 0) -> None:
    rng = random.Random(seed)
    words = ["".join(chr(rng.randint(0xAC00, 0xD7A3)) for _ in range(rng.randint(1, 4))) for _ in range(NUM_WORDS)]
    weights = list(accumulate(1 / (rank + 3) for rank in range(NUM_WORDS)))  # Zipf's law
    number = 0
    for part, short, share in (("Training", "TL", 1 - VALIDATION), ("Validation", "VL", VALIDATION)):
        labels = folder / "3.개방데이터/1.데이터" / part / "02.라벨링데이터"
        labels.mkdir(parents=True, exist_ok=True)
        for topic, of_topic in TOPICS.items():
            name = topic.replace(", ", "_").replace("/", "_").replace(" ", "")
            with zipfile.ZipFile(labels / f"{short}_1.발화단위평가_{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
                for _ in range(max(1, round(dialogues * share * of_topic))):
                    number += 1
                    content = json.dumps(_dialogue(number, topic, words, weights, rng), ensure_ascii=False, indent=1)
                    archive.writestr(f"{name}_{number}.json", content)


def _dialogue(number: int, topic: str, words: list[str], weights: list[float], rng: random.Random) -> dict[str, Any]:
    utterances = [
        utterance
        for exchange in range(1, rng.choice(EXCHANGES) + 1)
        for utterance in _exchange(number, exchange, words, weights, rng)
    ]
    conversation = {
        "conversation_id": number,
        "metadata": {
            "topic": topic,
            "speakers": [{"id": 7, "speaker_type": "human"}, {"id": 0, "speaker_type": "bot"}],
        },
        "utterances": utterances,
        "conversation_summary": "",
        "conversation_evaluation": {"likeability": ["yes", "yes", "no"]},
    }
    return {"dataset": {"conversations": [conversation]}}


def _exchange(
    number: int, exchange: int, words: list[str], weights: list[float], rng: random.Random
) -> Iterator[dict[str, Any]]:
    for turn, speaker in ((2 * exchange - 1, 7), (2 * exchange, 0)):
        yield {
            "exchange_id": f"c{number}.e{exchange}",
            "utterance_id": f"c{number}.u{turn}",
            "speaker_id": speaker,
            "utterance_text": " ".join(rng.choices(words, cum_weights=weights, k=rng.randint(4, 14))) + ".",
            "utterance_evaluation": [] if speaker else _evaluations(rng),
        }


def _evaluations(rng: random.Random) -> list[dict[str, str]]:
    evaluations: list[dict[str, str]] = [{}, {}, {}]
    for criterion, rate in CRITERIA.items():
        is_good = rng.random() < rate
        dissenter = rng.randrange(3) if rng.random() < SPLIT_VOTE else None
        for annotator, evaluation in enumerate(evaluations):
            evaluation[criterion] = "yes" if is_good != (annotator == dissenter) else "no"
    return evaluations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dialogues", type=int, default=56_000)
    arguments = parser.parse_args()
    write_aihub(arguments.folder, arguments.dialogues)


if __name__ == "__main__":
    main()

"""Seconds per training step and of an evaluation: batches padded, in one row without padding, and all equally long.

    python tests/benchmarks/padding.py [--data FOLDER_OR_FILE] [--model FOLDER] [--precision fp32] [--threads 1]
    python tests/benchmarks/padding.py --hidden 768 --batch-size 256 --examples 4096  # GPU

A 12 x 384 BERT with random weights; the texts, and so their lengths, are the embedded sample's or those of `--data`,
with the tokenizer of `--model`. In the third form each text has the mean length of all. Seconds are of the CPU, of all
threads, or of the wall on a GPU; the forms take turns, and the quickest of `--rounds` counts. The last column compares
real tokens per second with those of the third form.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from torch.utils.data import DataLoader
from transformers import BertConfig, BertModel

from contrastive_app.parts import EVAL_TOKENS, EVAL_TOKENS_ON_GPU, build_parts, load_data
from contrastive_app.places import CONF
from contrastive_learning import ContrastiveQualityModel, ContrastiveTrainer
from contrastive_learning.data.tokenized import TokenizedSplit

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def overrides_of(arguments: argparse.Namespace, cache: str) -> list[str]:
    own = [f"trainer.precision={arguments.precision}", f"sampler.length_window={arguments.length_window}"]
    own += [f"sampler.batch_size={arguments.batch_size}", f"data.train_examples={arguments.examples}"]
    own += ["tracking=none", f"data.cache_dir='{cache}'", "loss=supcon"]
    if arguments.data:
        own += ["data=votes", f"data.path='{arguments.data}'"]
    if arguments.model:
        own += ["model=hub", f"model.name='{arguments.model}'", f"data.prefix='{arguments.prefix}'"]
    return own


def equally_long(split: TokenizedSplit) -> TokenizedSplit:
    """The same responses, each with as many tokens as they have in the mean: its own, over and over."""
    length, rows = round(float(split.lengths.mean())), np.arange(len(split))
    inputs = [split.collate([row])["input_ids"][0].numpy() for row in rows]
    return split.with_inputs(rows, [np.resize(tokens, length).tolist() for tokens in inputs])


def seconds(work: Callable[[], object]) -> float:
    clock = time.perf_counter if DEVICE.type == "cuda" else time.process_time
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    start = clock()
    work()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return clock() - start


class Form:
    """One way to train and to evaluate, and the least that it has taken so far."""

    def __init__(self, name: str, config: Any, data: Any, arguments: argparse.Namespace, train: TokenizedSplit) -> None:
        parts = build_parts(config)
        self.name, self.train = name, train
        self.sampler: Any = parts.make_sampler(train.examples())
        loader = DataLoader(
            train, batch_sampler=self.sampler, collate_fn=train.collate, pin_memory=DEVICE.type == "cuda"
        )
        batches = train.batches_by_length(max_tokens=arguments.eval_tokens)
        self.held_out = DataLoader(train, batch_sampler=batches, collate_fn=train.collate)
        shape = BertConfig(
            vocab_size=len(data.tokenizer),
            hidden_size=arguments.hidden,
            num_hidden_layers=arguments.layers,
            num_attention_heads=min(12, arguments.hidden // 32),
            intermediate_size=4 * arguments.hidden,
            pad_token_id=data.tokenizer.pad_token_id,
        )
        torch.manual_seed(0)
        encoder = BertModel(shape, add_pooling_layer=False)
        model = ContrastiveQualityModel(num_labels=len(data.criteria), encoder=encoder)
        self.trainer = ContrastiveTrainer(
            model, loader, [], str(DEVICE), parts.settings, loss=parts.loss, optimizer=parts.optimizer
        )
        self.training, self.evaluation = float("inf"), float("inf")
        if self.trainer.padded_because is not None:
            print(f"{name}: padded, {self.trainer.padded_because}")

    def measure(self, number: int) -> None:
        self.sampler.set_epoch(number)
        self.training = min(self.training, seconds(self.trainer.train_epoch))
        self.evaluation = min(self.evaluation, seconds(lambda: self.trainer.predict(self.held_out)))

    def padded_tokens(self) -> int:
        lengths = self.train.lengths
        return int(sum(len(batch) * lengths[batch].max() for batch in self.sampler))

    def print(self, padded: "Form", equal: "Form") -> None:
        tokens, most = int(self.train.lengths.sum()), int(equal.train.lengths.sum())
        step, plain = (form.training / len(form.sampler) for form in (self, padded))
        share = tokens / self.training / (most / equal.training)
        print(
            f"{self.name:<24}{step:>10.3f}{plain / step:>8.2f}{self.evaluation:>12.3f}"
            f"{padded.evaluation / self.evaluation:>8.2f}{tokens / self.training:>12.0f}{share:>8.0%}"
        )


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="rated responses: a JSONL file or a folder with train.jsonl …")
    parser.add_argument("--model", type=Path, help="a folder whose tokenizer is used")
    parser.add_argument("--prefix", default="", help="what --model wants before each text")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--eval-tokens", type=int, default=EVAL_TOKENS_ON_GPU if DEVICE.type == "cuda" else EVAL_TOKENS)
    parser.add_argument("--length-window", type=int, default=16, help="1: batches of all lengths")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def main() -> None:
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as cache:
        configs = []
        for free in ("false", "true"):
            options = [*overrides_of(arguments, cache), f"trainer.padding_free={free}"]
            options.append(f"trainer.epochs={arguments.rounds}")
            with initialize_config_dir(str(CONF), version_base="1.3"):
                configs.append(compose("train", options))
        data = load_data(configs[1], build_parts(configs[1]))
        train = data.splits["train"]
        forms = [
            Form("padded", configs[0], data, arguments, train),
            Form("without padding", configs[1], data, arguments, train),
            Form("without, equally long", configs[1], data, arguments, equally_long(train)),
        ]
        for number in range(arguments.rounds):
            for form in forms:
                form.measure(number)
    padded, free, equal = forms
    share = train.lengths.sum() / padded.padded_tokens()
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else f"CPU, {arguments.threads} threads"
    print(f"torch {torch.__version__}, {name}, {free.trainer.precision}")
    print(f"{len(train)} responses, tokens: mean {train.lengths.mean():.1f}, of the padded batches {share:.0%} real")
    print(f"{'':<24}{'s/step':>10}{'x':>8}{'s/eval':>12}{'x':>8}{'tokens/s':>12}{'share':>8}")
    for form in forms:
        form.print(padded, equal)


if __name__ == "__main__":
    main()

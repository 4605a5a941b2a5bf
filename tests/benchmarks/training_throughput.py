"""Examples a second of one epoch: the usual script, two known trainers, ours, and how near ours is to the machine.

    python tests/benchmarks/training_throughput.py [--data FOLDER_OR_FILE] [--model FOLDER] [--examples 512]
    python tests/benchmarks/training_throughput.py --hidden 768 --full-length 128 --examples 4096 --compiled  # GPU

A 12 x 384 BERT with random weights; the texts, and so their lengths, are the embedded sample's, or those of rated
responses as JSONL, or all of `--full-length` tokens. `--model` takes a tokenizer from there. All forms see the same
`--examples` training responses once, the plain one some batches of them, as each of its batches costs the same. "x a"
is by wall, then by CPU time; "real e" and "padded e" are shares of e, of the products without and with padding, times
three for the way back. On a busy machine take `--threads 1` and read the CPU time. On CUDA each form runs twice and the
second counts; loss and gradients are compared with those of the CPU.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from contrastive_memory_and_time import nine_dense
from flops import DTYPES, Shape, ceiling
from hydra import compose, initialize_config_dir
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)
from transformers import logging as transformers_logging

from contrastive_app.parts import Parts, build_parts, load_data
from contrastive_app.places import CONF
from contrastive_learning import ContrastiveQualityModel, ContrastiveTrainer
from contrastive_learning.data.tokenized import TokenizedData
from contrastive_learning.model.passes import passes_of

MAX_LENGTH = 256
LR, LAMBDA = 2e-5, 0.1
CONTRASTIVE_BATCH = 256
TOKENS_PER_PASS = {"cpu": 4096, "cuda": 32768}
PROJECTION_DIM = 256
FAST_BF16 = 1.2  # times fp32, from which on it is worth its rounding


@dataclass(frozen=True)
class Spent:
    precision: str
    examples: int
    real_lengths: Sequence[int]
    padded_lengths: Sequence[int]
    wall: float
    cpu: float
    peak_bytes: int  # on the GPU


class Bench:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.shape = Shape(arguments.layers, arguments.hidden)
        self.plain_steps = arguments.plain_steps
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.on_gpu = self.device.type == "cuda"
        self.overrides = ["tracking=none", f"data.train_examples={arguments.examples}"]
        if arguments.data:
            self.overrides += ["data=votes", f"data.path='{arguments.data}'"]
        if arguments.model:
            self.overrides += ["model=hub", f"model.name='{arguments.model}'", f"data.prefix='{arguments.prefix}'"]
        self.max_length = arguments.full_length or MAX_LENGTH
        with tempfile.TemporaryDirectory() as folder:
            self.overrides += [f"data.max_length={self.max_length}", f"data.cache_dir={folder}/cache"]
            if arguments.full_length:
                write_long_responses(Path(folder, "long.jsonl"), arguments.examples)
                self.overrides += ["data=votes", f"data.path='{folder}/long.jsonl'"]
            self.data: TokenizedData = load_data(*self._configured([]))
        self.train = self.data.splits["train"]
        self.ceilings = {precision: ceiling(dtype, self.device) for precision, dtype in DTYPES.items()}
        self.has_fast_bf16 = self.ceilings["bf16"] > FAST_BF16 * self.ceilings["fp32"]

    def _configured(self, overrides: Sequence[str]) -> tuple[Any, Parts]:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("train", [*self.overrides, *overrides])
        return config, build_parts(config)

    def bert_config(self, **changes: Any) -> BertConfig:
        return BertConfig(
            vocab_size=len(self.data.tokenizer),
            hidden_size=self.shape.hidden,
            num_hidden_layers=self.shape.layers,
            num_attention_heads=min(12, self.shape.hidden // 32),
            intermediate_size=4 * self.shape.hidden,
            pad_token_id=self.data.tokenizer.pad_token_id,
            **changes,
        )

    def model(self, **changes: Any) -> ContrastiveQualityModel:
        encoder = BertModel(self.bert_config(**changes), add_pooling_layer=False)
        return ContrastiveQualityModel(
            num_labels=len(self.data.criteria), projection_dim=PROJECTION_DIM, encoder=encoder
        )

    def plain(self) -> Spent:
        """The plain way: everything padded to the maximum, fp32, torch's AdamW, the loss read at every step."""
        if self.on_gpu:
            self._plain()
        return self._plain()

    def _plain(self) -> Spent:
        model = self.model().to(self.device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(0)).tolist()
        batches = [order[start : start + 32] for start in range(0, len(order), 32)][: self.plain_steps]
        with self._measured("fp32", [(batch, self.max_length) for batch in batches]) as spent:
            for rows in batches:
                batch = {name: column.to(self.device) for name, column in self.train.collate(rows).items()}
                to_maximum = (0, self.max_length - batch["input_ids"].shape[1])
                input_ids = F.pad(batch["input_ids"], to_maximum, value=self.train.pad_token_id)
                output = model(input_ids, F.pad(batch["attention_mask"], to_maximum))
                yes, num = batch["yes_votes"], batch["num_votes"]
                bce = F.binary_cross_entropy_with_logits(output.logits, yes / num.clamp_min(1))
                loss = bce + LAMBDA * nine_dense(output.embeddings, yes, num)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                loss.item()
        return spent()

    def transformers_trainer(self, batch_size: int, *, compiled: bool = False) -> Spent:
        config = self.bert_config(num_labels=len(self.data.criteria), problem_type="multi_label_classification")
        batches = [self.train.collate([row]) for row in range(len(self.train))]
        shares = [batch["yes_votes"][0] / batch["num_votes"][0].clamp_min(1) for batch in batches]
        rows = [
            {"input_ids": batch["input_ids"][0].tolist(), "labels": share.tolist()}
            for batch, share in zip(batches, shares, strict=True)
        ]
        padded: list[tuple[list[int], int]] = []  # filled while it trains: the order is transformers' own
        pad = DataCollatorWithPadding(self.data.tokenizer)

        def collate(examples: list[dict[str, Any]]) -> Any:
            batch = pad(examples)
            padded.append(([len(example["input_ids"]) for example in examples], batch["input_ids"].shape[1]))
            return batch

        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                train_sampling_strategy="group_by_length",
                torch_compile=compiled,
                **self._of_transformers(folder, batch_size),
            )
            trainer = Trainer(BertForSequenceClassification(config), arguments, collate, rows)
            return self._trained(trainer, padded)

    def sentence_transformers_trainer(self, batch_size: int) -> Spent:
        """The nearest that it has: texts with one label, and a loss of all triplets of a batch. It groups no lengths,
        but leaves out the padding where FlashAttention is installed.
        """
        from datasets import Dataset
        from sentence_transformers import (
            SentenceTransformer,
            SentenceTransformerTrainer,
            SentenceTransformerTrainingArguments,
        )
        from sentence_transformers.sentence_transformer.losses import BatchAllTripletLoss
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

        tokens = [self.train.collate([row])["input_ids"][0] for row in range(len(self.train))]
        texts = [self.data.tokenizer.decode(each, skip_special_tokens=True) for each in tokens]
        labels = 2 * self.train.yes_votes[:, 0] > self.train.num_votes[:, 0]
        attention = "flash_attention_2" if self.on_gpu and find_spec("flash_attn") else "sdpa"
        with tempfile.TemporaryDirectory() as folder:
            BertModel(self.bert_config(), add_pooling_layer=False).save_pretrained(folder)
            self.data.tokenizer.save_pretrained(folder)
            encoder = Transformer(
                folder, model_kwargs={"attn_implementation": attention}, max_seq_length=self.max_length
            )
            model = SentenceTransformer(modules=[encoder, Pooling(self.shape.hidden)], device=str(self.device))
            trainer = SentenceTransformerTrainer(
                model,
                SentenceTransformerTrainingArguments(**self._of_transformers(folder, batch_size)),
                Dataset(pa.table({"text": texts, "label": labels.astype(int)}), fingerprint="texts"),
                loss=BatchAllTripletLoss(model),
            )
            seen: list[tuple[Tensor, int]] = []  # lengths, padded to: read when it has trained

            def note(module: Any, given: tuple[dict[str, Tensor], ...]) -> None:
                mask = given[0].get("attention_mask")
                seen.append((given[0]["cu_seq_lens_q"].diff(), 0) if mask is None else (mask.sum(1), mask.shape[1]))

            encoder.register_forward_pre_hook(note)
            spent = self._trained(trainer, [])
        batches = seen[-len(seen) // (2 if self.on_gpu else 1) :]  # on a GPU of the second epoch
        return replace(spent, **_lengths([(lengths.tolist(), width) for lengths, width in batches]))

    def _of_transformers(self, folder: str, batch_size: int) -> dict[str, Any]:
        """The options of its TrainingArguments that make one epoch fast and silent."""
        return {
            "output_dir": folder,
            "num_train_epochs": 1,
            "per_device_train_batch_size": batch_size,
            "bf16": self.has_fast_bf16,
            "optim": "adamw_torch_fused",
            "use_cpu": not self.on_gpu,
            "dataloader_pin_memory": self.on_gpu,
            "save_strategy": "no",
            "logging_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
        }

    def _trained(self, trainer: Trainer, padded: list[tuple[list[int], int]]) -> Spent:
        trainer.remove_callback(PrinterCallback)
        if self.on_gpu:
            trainer.train()
            padded.clear()
        with self._clock() as seconds:
            trainer.train()
        return _spent("bf16" if self.has_fast_bf16 else "fp32", padded, *seconds())

    def ours(self, loss: str, batch_size: int, *overrides: str) -> Spent:
        _, parts = self._configured([f"loss={loss}", f"sampler.batch_size={batch_size}", *overrides])
        sampler = parts.make_sampler(self.train.examples())
        loader = DataLoader(self.train, batch_sampler=sampler, collate_fn=self.train.collate, pin_memory=self.on_gpu)
        trainer = ContrastiveTrainer(
            self.model(), loader, [], str(self.device), parts.settings, loss=parts.loss, optimizer=parts.optimizer
        )
        if self.on_gpu:
            trainer.train_epoch()
            sampler.set_epoch(1)
        padded = not trainer.accelerator.unwrap_model(trainer.model).padding_free
        batches = list(self._passes(sampler, parts.settings.tokens_per_pass, padded=padded))
        with self._measured(trainer.precision, batches) as spent:
            trainer.train_epoch()
        return spent()

    def _passes(
        self, batches: Iterable[list[int]], max_tokens: int | None, *, padded: bool
    ) -> Iterator[tuple[list[int], int]]:
        """The rows of each pass, and the tokens that each is padded to; 0: none is."""
        for batch in batches:
            lengths = self.train.lengths[batch].tolist()
            for each in passes_of(lengths, max_rows=None, max_tokens=max_tokens, padded=padded):
                yield [batch[row] for row in each.rows.tolist()], each.num_tokens if padded else 0

    def contrastive_share(self, whole: Spent) -> float:
        """Seconds of the contrastive term, forward and backward, as a share of a step of the large batch."""
        rows = list(range(min(CONTRASTIVE_BATCH, len(self.train))))
        _, parts = self._configured(["loss=supcon"])
        votes = [self.train.collate(rows)[name].to(self.device) for name in ("yes_votes", "num_votes")]
        embeddings = torch.randn(len(rows), PROJECTION_DIM, device=self.device).requires_grad_()
        seconds = []
        for _ in range(30):
            with self._clock() as elapsed:
                parts.loss.contrastive(embeddings, *votes).backward()
            seconds.append(self._busy(*elapsed()[:2]))
        return statistics.median(seconds) / (self._busy(whole.wall, whole.cpu) * len(rows) / whole.examples)

    def _busy(self, wall: float, cpu: float) -> float:
        """What other programs on a CPU do not change; a GPU is ours alone."""
        return wall if self.on_gpu else cpu

    def compare_devices(self) -> None:
        """Loss and gradient of one batch on the GPU against the CPU in fp32, without dropout."""
        model = self.model(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).eval()
        batch, (_, parts) = self.train.collate(list(range(32))), self._configured(["loss=supcon"])
        expected_loss, expected = gradient(model, batch, parts.loss, torch.device("cpu"), torch.float32)
        for dtype in (torch.float32, torch.bfloat16):
            loss, found = gradient(model, batch, parts.loss, self.device, dtype)
            distance = ((found - expected).norm() / expected.norm()).item()
            print(
                f"GPU {dtype} against CPU: loss {loss:.6f} and {expected_loss:.6f}, gradient differs by {distance:.1e}"
            )

    @contextmanager
    def _measured(self, precision: str, batches: list[tuple[list[int], int]]) -> Iterator[Callable[[], Spent]]:
        """batches: rows and padded length of each; 0: not padded."""
        padded = [(self.train.lengths[rows].tolist(), width) for rows, width in batches]
        with self._clock() as seconds:
            yield lambda: _spent(precision, padded, *seconds())

    @contextmanager
    def _clock(self) -> Iterator[Callable[[], tuple[float, float, int]]]:
        """Wall and CPU seconds of the block, and the peak of the GPU's memory in it."""
        if self.on_gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        wall, cpu = time.perf_counter(), time.process_time()
        found: list[tuple[float, float, int]] = []
        yield lambda: found[0]
        if self.on_gpu:
            torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated() if self.on_gpu else 0
        found.append((time.perf_counter() - wall, time.process_time() - cpu, peak))


def _spent(precision: str, padded: list[tuple[list[int], int]], wall: float, cpu: float, peak: int) -> Spent:
    return Spent(precision, wall=wall, cpu=cpu, peak_bytes=peak, **_lengths(padded))


def _lengths(padded: list[tuple[list[int], int]]) -> dict[str, Any]:
    real = [length for lengths, _ in padded for length in lengths]
    computed = [max(length, width) for lengths, width in padded for length in lengths]
    return {"examples": len(real), "real_lengths": real, "padded_lengths": computed}


def write_long_responses(path: Path, num_examples: int) -> None:
    """Enough rated responses that no tokenizer makes fewer than MAX_LENGTH tokens of."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(2 * num_examples):
            votes = {"even": [number % 2] * 3, "third": [int(number % 3 == 0)] * 3}
            row = {"id": str(number), "domain": "any", "context": [f"{number}", "가 나 다 " * MAX_LENGTH]}
            file.write(json.dumps(row | {"response": f"{number} 라", "votes": votes}, ensure_ascii=False) + "\n")


def gradient(
    model: ContrastiveQualityModel, batch: dict[str, Tensor], loss: Any, device: torch.device, dtype: torch.dtype
) -> tuple[float, Tensor]:
    """The joint loss, and its gradient by all parameters as one vector on the CPU."""
    model.to(device).zero_grad()
    batch = {name: column.to(device) for name, column in batch.items()}
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        output = model(batch["input_ids"], batch["attention_mask"])
    total = loss(output.logits, output.embeddings, batch["yes_votes"], batch["num_votes"]).total
    total.backward()
    grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return total.item(), torch.cat([grad.flatten() for grad in grads]).cpu()


def print_row(name: str, spent: Spent, bench: Bench, plain: Spent) -> None:
    most = bench.ceilings[spent.precision] * spent.wall
    shares = [bench.shape.flops(lengths) / most for lengths in (spent.real_lengths, spent.padded_lengths)]
    rate, tokens = spent.examples / spent.wall, sum(spent.real_lengths) / spent.wall
    per_example = 1e3 * spent.cpu / spent.examples
    by_wall = rate / (plain.examples / plain.wall)
    by_cpu = 1e3 * plain.cpu / plain.examples / per_example
    print(
        f"{name:<30}{spent.precision:>6}{rate:>11.1f}{tokens:>10.0f}{by_wall:>8.2f}{per_example:>11.1f}{by_cpu:>8.2f}"
        f"{shares[0]:>8.0%}{shares[1]:>8.0%}{spent.peak_bytes / 1e6:>8.0f}",
        flush=True,
    )


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="rated responses: a JSONL file or a folder with train.jsonl …")
    parser.add_argument("--model", type=Path, help="a folder whose tokenizer is used")
    parser.add_argument("--prefix", default="", help="what --model wants before each text")
    parser.add_argument("--compiled", action="store_true", help="also transformers.Trainer and ours with torch.compile")
    parser.add_argument("--full-length", type=int, help="tokens of every text, in place of --data")
    parser.add_argument("--examples", type=int, default=512)
    parser.add_argument("--plain-steps", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def main() -> None:
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    bench = Bench(arguments)
    lengths = bench.train.lengths
    ceilings = ", ".join(f"{name} {value / 1e9:.0f}" for name, value in bench.ceilings.items())
    print(f"torch {torch.__version__} on {bench.device}, {arguments.threads} threads, load {os.getloadavg()[0]:.1f}")
    print(f"{len(lengths)} responses, tokens: median {np.median(lengths):.0f}, longest {lengths.max()}")
    print(f"e. largest products, GFLOP/s: {ceilings}\n")
    print(f"{'':<36} examples/s  tokens/s     x a  CPU ms/ex     x a   real e padded e GPU MB")
    plain = bench.plain()
    print_row(f"a. padded to {bench.max_length}, fp32, AdamW", plain, bench, plain)
    print_row("b. transformers.Trainer, BCE", bench.transformers_trainer(arguments.batch_size), bench, plain)
    if arguments.compiled:
        spent = bench.transformers_trainer(arguments.batch_size, compiled=True)
        print_row("b. the same, compiled", spent, bench, plain)
    if find_spec("sentence_transformers") and find_spec("datasets"):
        spent = bench.sentence_transformers_trainer(arguments.batch_size)
        print_row("b. sentence-transformers", spent, bench, plain)
    else:
        print("b. sentence-transformers: pip install 'sentence-transformers[train]'")
    print_row("c. ours, BCE", bench.ours("bce", arguments.batch_size), bench, plain)
    print_row("d. ours, BCE + contrastive", bench.ours("supcon", arguments.batch_size), bench, plain)
    large = bench.ours("supcon", CONTRASTIVE_BATCH)
    print_row(f"d. the same, batch {CONTRASTIVE_BATCH}", large, bench, plain)
    tokens = TOKENS_PER_PASS[bench.device.type]
    in_passes = bench.ours("supcon", CONTRASTIVE_BATCH, f"trainer.tokens_per_pass={tokens}")
    print_row(f"d. in passes of {tokens} tokens", in_passes, bench, plain)
    if arguments.compiled and bench.on_gpu:
        in_graphs = bench.ours("supcon", arguments.batch_size, "trainer.compile=graphs")
        print_row("d. in CUDA graphs", in_graphs, bench, plain)
    if arguments.compiled:
        print_row("d. compiled", bench.ours("supcon", CONTRASTIVE_BATCH, "trainer.compile=true"), bench, plain)
    print(f"\ncontrastive term at batch {CONTRASTIVE_BATCH}: {bench.contrastive_share(large):.2%} of a step")
    if bench.on_gpu:
        bench.compare_devices()


if __name__ == "__main__":
    main()

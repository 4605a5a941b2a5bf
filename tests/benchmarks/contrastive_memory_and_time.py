"""Time and memory of the contrastive losses, forward + backward, against forms that hold the [batch, batch] matrices.

    python tests/benchmarks/contrastive_memory_and_time.py [--batch-sizes 512 2048 ...] [--threads 2] [--only-gpu]

Each measurement is a process of its own: median wall and CPU time, and the growth of the peak resident memory (Linux
only). On a busy machine take `--threads 1` and read the CPU time: two threads wait for each other at every product.
A form that would need more than 8 GB is stopped. 256 dimensions, 9 criteria, 3 votes each, float32 on the CPU.

On CUDA the first table compares torch's tiles with the fused kernels, whose blocks are numbered as in fused_trial.py:
milliseconds and peak memory, without what the columns are made of; and the whole loss, with what its trial has chosen.
"""

import argparse
import json
import logging
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import torch
import torch.nn.functional as F
from torch import Tensor

from contrastive_learning.losses import SupConLoss
from contrastive_learning.losses.fused_trial import candidates, inputs, milliseconds
from contrastive_learning.losses.tiles import BLOCK_SIZE_ON_GPU, TorchSums

DIM, CRITERIA, TEMPERATURE = 256, 9, 0.1
MEMORY_LIMIT = 8e9
MOST_REPEATS, SECONDS_A_FORM = 7, 5.0
GPU_BATCH_SIZES = (4096, 8192, 16384, 32768, 65536)
COLUMNS = 2 * CRITERIA  # of V, with denominator=negatives
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def nine_dense(embeddings: Tensor, yes: Tensor, num: Tensor) -> Tensor:
    """SupCon as usually written, once a criterion."""
    return torch.stack([supcon(embeddings, 2 * yes[:, c] > num[:, c]) for c in range(yes.shape[1])]).mean()


def supcon(embeddings: Tensor, labels: Tensor) -> Tensor:
    z = F.normalize(embeddings, dim=1)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    log_probabilities = (z @ z.T / TEMPERATURE).masked_fill(itself, -1e9).log_softmax(1)  # [batch, batch]
    positives = ((labels[:, None] == labels) & ~itself).float()
    num_positives = positives.sum(1)
    anchors = num_positives > 0
    return -((positives * log_probabilities).sum(1)[anchors] / num_positives[anchors]).mean()


def one_dense_softmax(embeddings: Tensor, yes_votes: Tensor, num_votes: Tensor) -> Tensor:
    """The best dense form: one softmax, and one weight a pair that sums up all criteria. The same rules as ours."""
    z = F.normalize(embeddings, dim=1, eps=1e-8)
    if not torch.isfinite(z).all():
        raise ValueError("embeddings must be finite")
    judged = (num_votes > 0) & torch.isfinite(num_votes)
    yes, no = (judged & (2 * yes_votes > num_votes)).float(), (judged & (2 * yes_votes < num_votes)).float()
    num_positives = yes * (yes.sum(0) - 1) + no * (no.sum(0) - 1)  # [batch, criteria]
    anchors = num_positives > 0
    counted = yes.any(0) & no.any(0) & anchors.any(0)
    weight = torch.where(anchors & counted, 1 / (num_positives * anchors.sum(0)), 0.0) / counted.sum().clamp_min(1)
    pairs = ((yes * weight) @ yes.T + (no * weight) @ no.T).fill_diagonal_(0)  # [batch, batch]
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    scores = z @ z.T / TEMPERATURE
    log_denominators = scores.masked_fill(itself, -torch.inf).logsumexp(1)
    return (pairs.sum(1) * log_denominators).sum() - (pairs * scores).sum()


def nine_pytorch_metric_learning(embeddings: Tensor, yes: Tensor, num: Tensor) -> Tensor:
    from pytorch_metric_learning import losses

    loss = losses.SupConLoss(temperature=TEMPERATURE)
    return torch.stack([loss(embeddings, (2 * yes[:, c] > num[:, c]).long()) for c in range(yes.shape[1])]).mean()


FORMS: dict[str, Loss] = {
    "ours, all": SupConLoss(temperature=TEMPERATURE, denominator="all", projection="shared", criterion_weights=None),
    "ours, negatives": SupConLoss(
        temperature=TEMPERATURE, denominator="negatives", projection="shared", criterion_weights=None
    ),
    "one dense softmax": one_dense_softmax,
    "nine dense": nine_dense,
    "nine pytorch-metric-learning": nine_pytorch_metric_learning,
}


def random_batch(batch_size: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    num = torch.full((batch_size, CRITERIA), 3.0)
    yes = torch.binomial(num, 0.2 + 0.7 * torch.rand(batch_size, CRITERIA, generator=generator), generator=generator)
    return torch.randn(batch_size, DIM, generator=generator).requires_grad_(), yes, num


def seconds_of_one(loss: Loss, batch: tuple[Tensor, Tensor, Tensor]) -> tuple[float, float]:
    """Wall and CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    loss(*batch).backward()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(form: str, batch_size: int) -> dict[str, float]:
    """Runs in the child."""
    seconds_of_one(FORMS[form], random_batch(64))  # loads the kernels
    batch = random_batch(batch_size)
    batch[0].grad = torch.zeros_like(batch[0])
    start = psutil.Process().memory_info().rss
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, the peak
    seconds: list[tuple[float, float]] = []
    while len(seconds) < MOST_REPEATS and sum(wall for wall, _ in seconds) < SECONDS_A_FORM:
        seconds.append(seconds_of_one(FORMS[form], batch))
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) * 1024
    wall, cpu = (statistics.median(times) for times in zip(*seconds, strict=True))
    return {"wall": wall, "cpu": cpu, "bytes": peak - start, "value": FORMS[form](*batch).item()}


def measure_in_child(form: str, batch_size: int, threads: int) -> dict[str, float] | None:
    """None if it would need more than MEMORY_LIMIT."""
    command = [sys.executable, __file__, "--child", form, str(batch_size), "--threads", str(threads)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        while child.poll() is None:
            if psutil.Process(child.pid).memory_info().rss > MEMORY_LIMIT:
                child.kill()
                return None
            time.sleep(0.02)
        output = child.communicate()[0]
    if child.returncode:
        raise RuntimeError(f"{form} at batch size {batch_size} ended with {child.returncode}")
    return dict(json.loads(output))


def print_large(batch_sizes: list[int], threads: int) -> None:
    print(f"{'batch':>6}  {'form':<29}{'wall s':>9}{'CPU s':>9}{'MB':>8}  {'value':>8}")
    for batch_size in batch_sizes:
        for form in FORMS:
            found = measure_in_child(form, batch_size, threads)
            if found is None:
                print(f"{batch_size:>6}  {form:<29}{'> 8 GB':>26}", flush=True)
                continue
            megabytes = found["bytes"] / 1e6
            times = f"{found['wall']:>9.3f}{found['cpu']:>9.3f}"
            print(f"{batch_size:>6}  {form:<29}{times}{megabytes:>8.0f}  {found['value']:>8.4f}", flush=True)


def print_small(threads: int) -> None:
    """One process, forms in turn in random order, so that all see the same load."""
    torch.set_num_threads(threads)
    forms = ("ours, all", "ours, negatives", "one dense softmax", "nine dense")
    print("\nCPU milliseconds, median of 300")
    print(f"{'batch':>6}" + "".join(f"{form:>19}" for form in forms))
    for batch_size in (32, 64, 128, 256):
        batch = random_batch(batch_size)
        seconds: dict[str, list[float]] = {form: [] for form in forms}
        for _ in range(300):
            for form in random.sample(forms, len(forms)):  # each meets the caches that any other left
                seconds[form].append(seconds_of_one(FORMS[form], batch)[1])
        print(f"{batch_size:>6}" + "".join(f"{1e3 * statistics.median(seconds[form]):>19.2f}" for form in forms))


def print_gpu() -> None:
    """Forward and backward of each way to the sums over pairs, and of the whole loss."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # the loss says if it does without the kernels
    device = torch.device("cuda", torch.cuda.current_device())
    ways = {"torch's tiles": partial(TorchSums, block_size=BLOCK_SIZE_ON_GPU)}
    ways |= {f"kernels, blocks {number}": way for number, way in enumerate(candidates(device), 1)}
    print(f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}, {COLUMNS} columns")
    print(f"{'batch':>6}  {'form':<29}{'ms':>9}{'x':>8}{'MB':>8}")
    for batch_size in GPU_BATCH_SIZES:
        batch = inputs(batch_size, DIM, COLUMNS, device)
        found = {name: time_and_memory(partial(milliseconds, way, *batch)) for name, way in ways.items()}
        found["ours, negatives"] = time_and_memory(partial(milliseconds_of_loss, batch_size, device))
        plain = found["torch's tiles"][0]
        for name, (spent, peak) in found.items():
            print(f"{batch_size:>6}  {name:<29}{spent:>9.2f}{plain / spent:>8.2f}{peak / 1e6:>8.0f}", flush=True)


def time_and_memory(work: Callable[[], float]) -> tuple[float, int]:
    """What it returns, infinity if the GPU has no room for the blocks, and the growth of the GPU's peak memory."""
    from triton import OutOfResources

    start = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    try:
        spent = work()
    except OutOfResources:
        spent = float("inf")
    return spent, torch.cuda.max_memory_allocated() - start


def milliseconds_of_loss(batch_size: int, device: torch.device) -> float:
    batch = tuple(column.detach().to(device) for column in random_batch(batch_size))
    batch[0].requires_grad_()
    seconds_of_one(FORMS["ours, negatives"], batch)  # the trial
    found = []
    for _ in range(3):
        torch.cuda.synchronize()
        start = time.perf_counter()
        seconds_of_one(FORMS["ours, negatives"], batch)
        torch.cuda.synchronize()
        found.append(1e3 * (time.perf_counter() - start))
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[512, 2048, 4096, 16384])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only-gpu", action="store_true", help="only the table on CUDA")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        torch.set_num_threads(arguments.threads)
        form, batch_size = arguments.child
        print(json.dumps(measure(form, int(batch_size))))
        return
    if torch.cuda.is_available():
        print_gpu()
    if arguments.only_gpu:
        if not torch.cuda.is_available():
            parser.error("no CUDA device here")
        return
    print(f"torch {torch.__version__}, {arguments.threads} threads, load {os.getloadavg()[0]:.1f}")
    print_large(arguments.batch_sizes, arguments.threads)
    print_small(arguments.threads)


if __name__ == "__main__":
    main()

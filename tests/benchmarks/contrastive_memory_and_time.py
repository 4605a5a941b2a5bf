"""Time and memory of the contrastive losses, forward + backward, against forms that hold the [batch, batch] matrices.

    python tests/benchmarks/contrastive_memory_and_time.py [--batch-sizes 512 2048 ...] [--threads 2]

Each measurement is a process of its own: median wall and CPU time, and the growth of the peak resident memory (Linux
only). On a busy machine take `--threads 1` and read the CPU time: two threads wait for each other at every product.
A form that would need more than 8 GB is stopped. 256 dimensions, 9 criteria, 3 votes each, float32 on the CPU.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
import torch.nn.functional as F
from torch import Tensor

from contrastive_learning.losses import SupConLoss

DIM, CRITERIA, TEMPERATURE = 256, 9, 0.1
MEMORY_LIMIT = 8e9
MOST_REPEATS, SECONDS_A_FORM = 7, 5.0
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[512, 2048, 4096, 16384])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        torch.set_num_threads(arguments.threads)
        form, batch_size = arguments.child
        print(json.dumps(measure(form, int(batch_size))))
        return
    print(f"torch {torch.__version__}, {arguments.threads} threads, load {os.getloadavg()[0]:.1f}")
    print_large(arguments.batch_sizes, arguments.threads)
    print_small(arguments.threads)


if __name__ == "__main__":
    main()

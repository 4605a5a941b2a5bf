"""Peak memory and seconds of a training step with a large contrastive batch, through GradCache.

    python tests/benchmarks/large_batch.py [--batch-size 16384] [--chunk 256] [--tokens 128]  # a GPU of 40 GB
    python tests/benchmarks/large_batch.py --layers 2 --hidden 64 --batch-size 256 --chunk 32 --tokens 16   # on a CPU

A RoBERTa of the shape of roberta-base with random weights and random tokens, nine criteria with three votes each,
`loss=supcon`. `--chunk` is trainer.grad_cache_chunk. The second epoch is measured: on CUDA the first one also decides
between torch's tiles and the fused kernels. "before" is what weights and optimizer take between steps.
"""

import argparse
import logging
import resource
import time

import torch
from hydra import compose, initialize_config_dir
from torch import Tensor
from transformers import RobertaConfig, RobertaModel

from contrastive_app.parts import build_parts
from contrastive_app.places import CONF
from contrastive_learning import ContrastiveQualityModel, ContrastiveTrainer

CRITERIA, VOTES = 9, 3
ON_GPU = torch.cuda.is_available()


def random_batch(arguments: argparse.Namespace) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    rows, tokens = arguments.batch_size, arguments.tokens
    num = torch.full((rows, CRITERIA), float(VOTES))
    yes = torch.binomial(num, torch.full_like(num, 0.7), generator=generator)
    input_ids = torch.randint(5, arguments.vocabulary, (rows, tokens), generator=generator)
    mask = torch.ones_like(input_ids)
    return {"input_ids": input_ids, "attention_mask": mask, "yes_votes": yes, "num_votes": num}


def make_trainer(arguments: argparse.Namespace) -> ContrastiveTrainer:
    own = ["tracking=none", "loss=supcon", f"trainer.grad_cache_chunk={arguments.chunk}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        parts = build_parts(compose("train", [*own, f"trainer.precision={arguments.precision}"]))
    shape = RobertaConfig(
        vocab_size=arguments.vocabulary,
        hidden_size=arguments.hidden,
        num_hidden_layers=arguments.layers,
        num_attention_heads=max(1, arguments.hidden // 64),
        intermediate_size=4 * arguments.hidden,
        max_position_embeddings=arguments.tokens + 2,
        type_vocab_size=1,
    )
    torch.manual_seed(0)
    encoder = RobertaModel(shape, add_pooling_layer=False)
    model = ContrastiveQualityModel(num_labels=CRITERIA, encoder=encoder)
    batches = [random_batch(arguments)] * arguments.steps
    device = "cuda" if ON_GPU else "cpu"
    return ContrastiveTrainer(model, batches, [], device, parts.settings, loss=parts.loss, optimizer=parts.optimizer)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=16384)
    parser.add_argument("--chunk", type=int, default=256, help="responses per pass of the encoder")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--vocabulary", type=int, default=50265)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--steps", type=int, default=1, help="of an epoch")
    return parser.parse_args()


def main() -> None:
    arguments = parsed()
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # the loss says if it does without the fused kernels
    trainer = make_trainer(arguments)
    losses = trainer.train_epoch()
    before = 0
    if ON_GPU:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    start = time.perf_counter()
    losses = trainer.train_epoch()
    if ON_GPU:
        torch.cuda.synchronize()
    seconds = (time.perf_counter() - start) / arguments.steps
    name = torch.cuda.get_device_name() if ON_GPU else "cpu"
    print(f"{name}, torch {torch.__version__}, {trainer.precision}, batch {arguments.batch_size:,}")
    print(f"contrastive loss {losses['contrastive_loss']:.4f}, {seconds:.2f} s per step")
    if ON_GPU:
        peak, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
        before, peak, reserved = before / 1e9, peak / 1e9, reserved / 1e9
        print(f"GB: before {before:.2f}, peak {peak:.2f}, with what the allocator holds in reserve {reserved:.2f}")
    else:
        print(f"GB: peak of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9:.2f}")


if __name__ == "__main__":
    main()

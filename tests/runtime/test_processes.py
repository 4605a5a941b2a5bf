"""Two gloo processes against one on the joined batch."""

import pytest
import torch
from torch.distributed.utils import _to_kwargs

from support.commands import ROOT, start_together
from support.small_task import build_trainer

WORKER = ROOT / "tests/support/train_small_task.py"


def run_processes(folder, num_processes, *arguments):
    """Losses of every step and the final weights, of each process."""
    where = folder / str(num_processes)
    where.mkdir()
    workers = start_together(num_processes, WORKER, where, *arguments, cwd=where, OMP_NUM_THREADS="1")
    ended = [worker.communicate(timeout=120) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * num_processes, ended
    return [torch.load(where / f"{rank}.pt") for rank in range(num_processes)]


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "grad_cache_chunk"), [("across", "none"), ("exact", "3"), ("instance", "3")])
def test_two_processes_train_as_one(tmp_path, loss, grad_cache_chunk):
    """Batches of 15 responses, so that the processes hold 8 and 7; 21 steps, then a judge.

    With instance discrimination there are two views, and seven or eight unjudged responses more in each batch;
    the judge has the averaged weights.
    """
    (one,) = run_processes(tmp_path, 1, loss, grad_cache_chunk)
    two = run_processes(tmp_path, 2, loss, grad_cache_chunk)
    for process in two:
        torch.testing.assert_close(process["first_gradient"], one["first_gradient"], rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(process["losses"], one["losses"], rtol=1e-5, atol=0)
        torch.testing.assert_close(process["judged"], one["judged"], rtol=0, atol=1e-4)
    assert torch.equal(two[0]["weights"], two[1]["weights"])


def test_what_a_step_reads_on_the_host_is_not_moved_to_the_device_of_a_wrapped_model(tmp_path):
    """DistributedDataParallel moves the arguments by `_to_kwargs`, here to a device that holds no numbers."""
    trainer, seen = build_trainer(tmp_path, epochs=1, tokens_per_pass=40), []

    def move(_, arguments, options):
        ((input_ids, mask),), (named,) = _to_kwargs(arguments, options, torch.device("meta"), False)
        rows = [each.rows for each in named["passes"]]
        seen.append([input_ids.device.type, *(tensor.device.type for tensor in (mask.value, *rows))])

    trainer.model.register_forward_pre_hook(move, with_kwargs=True)
    trainer._step.backward(next(iter(trainer.train_loader)), 0, 0, 1)
    assert seen == [["meta", *["cpu"] * 4]]  # the mask, and 16 responses of 6 tokens in three passes


def test_a_batch_must_feed_every_process():
    from contrastive_learning.samplers import Examples, random
    from contrastive_learning.samplers.sharding import ShardedBatches

    ones = torch.ones(6, 1, dtype=torch.long).numpy()
    batches = random(Examples(ones, ones, ones[:, 0], ones[:, 0].cumsum()), batch_size=3, seed=0, length_window=1)
    assert [len(batch) for batch in ShardedBatches(batches, 1, 2)] == [1, 1]
    with pytest.raises(ValueError, match="a batch of 3 is too small for 4 processes"):
        list(ShardedBatches(batches, 0, 4))

"""A large contrastive batch in the memory of a small one (GradCache, Gao et al. 2021, arxiv.org/abs/2101.06983).

1. The encoder runs over the batch in passes without a graph; its outputs are kept.
2. The heads and the losses run once on all of them, and give the gradient of each output.
3. The encoder runs over the passes again, with the same dropout masks, and takes these gradients back.

The gradients are those of the whole batch, for one more forward pass of the encoder (about a third of the compute).
Accumulation is not the same thing: an anchor would then see only the keys of its own part.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor

from contrastive_learning.data.batches import Batch
from contrastive_learning.model.model import ContrastiveQualityModel, ModelOutput
from contrastive_learning.model.passes import Pass, cut, positions
from contrastive_learning.runtime.devices import random_state, sent, set_random_state
from contrastive_learning.runtime.processes import num_processes

Result = TypeVar("Result")


def backward_in_passes(
    model: ContrastiveQualityModel,
    batch: Batch,
    evaluate: Callable[[ModelOutput], tuple[Tensor, Result]],
    accelerator: Accelerator,
    *,
    passes: Sequence[Pass],
    encoder_share: float,
) -> Result:
    """Add the gradient of the total loss of `batch` to the parameters.

    evaluate: from the output on the whole batch to its total loss and any result, which is returned. `model` is not
    wrapped for several processes: their gradients are averaged here, once.
    """
    inputs = batch.input_ids, batch.attention_mask
    random_states = []
    outputs = []
    with torch.no_grad(), accelerator.autocast():
        for each in passes:
            random_states.append(random_state(accelerator.device))
            outputs.append(model.encode(*cut(each, *inputs)))
    pooled = torch.cat(outputs).requires_grad_()
    with accelerator.autocast():
        output = model.judge(pooled[sent(positions(passes), pooled.device)], encoder_share=encoder_share)
    total, result = evaluate(output)
    accelerator.backward(total)  # scaled under fp16, and the gradients below with it
    after = random_state(accelerator.device)
    assert pooled.grad is not None
    grads = torch.split(pooled.grad, [len(each.rows) for each in passes])
    for each, state, grad in zip(passes, random_states, grads, strict=True):
        set_random_state(state, accelerator.device)
        with accelerator.autocast():
            encoded = model.encode(*cut(each, *inputs))
        if encoded.requires_grad:  # not of a frozen encoder
            torch.autograd.backward(encoded, grad.to(encoded.dtype))
    set_random_state(after, accelerator.device)
    if num_processes() > 1:
        _average_gradients(model, accelerator)
    return result


def _average_gradients(model: ContrastiveQualityModel, accelerator: Accelerator) -> None:
    grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    mean: Tensor = accelerator.reduce(torch.cat([grad.flatten() for grad in grads]), "mean")
    for grad, part in zip(grads, torch.split(mean, [grad.numel() for grad in grads]), strict=True):
        grad.copy_(part.view_as(grad))

"""Whether the contrastive loss has anchors and makes progress, as metrics and as warnings in words."""

import math
from collections.abc import Mapping, Sequence
from itertools import islice

import torch
from torch import Tensor, nn

from contrastive_learning.losses import ContrastiveLoss, JointLoss
from contrastive_learning.losses.checks import checks_put_off
from contrastive_learning.samplers.examples import BatchSampler
from contrastive_learning.training.settings import TrainerSettings

MEASUREMENTS_PER_EPOCH = 20  # batches whose statistics are taken; each costs one more pass over the similarities
BATCHES_TO_REPORT = 200
STARVING_ANCHORS = 0.05
PLENTY_OF_ANCHORS = 0.95
STARVING_BATCHES = 0.5
REMEDY_FOR_STARVING = (
    "use sampler=balanced or unanimity (domains with loss.contrastive.domains=across), a larger sampler.batch_size "
    "(trainer.grad_cache_chunk keeps it in memory), or loss=agreement"
)
NO_CLUSTERS_ABOVE = 0.99  # collapse ratio: 1 = no clusters; nine criteria in one shared space seldom get below 0.9
COLLAPSED_ABOVE = -1.0  # uniformity: 0 = all embeddings equal, -1 = a mean cosine of 0.75, -4 = orthogonal
COLLAPSED_RANK = 2.0
STUCK = "never left the base rates"  # what is said of a run that is stuck
STUCK_BELOW = 0.6  # mean AUROC on valid; of a run that has not left its start it is about 0.5
REMEDY_FOR_STUCK = (
    "halve optimizer.lr and double trainer.epochs, warm up longer (optimizer.warmup_ratio=0.3), or use "
    "loss=instance trainer.views=2, which forgives a rate that is too high"
)
REMEDY_FOR_FEW_STEPS = "train longer (more trainer.epochs), or raise optimizer.lr and optimizer.head_lr"
FEW_STEPS = 50
LITTLE_MOVEMENT = 0.003  # the sum of the rates of all steps: about what a weight moves under Adam if all agree
NAMES = {"excess": "excess", "collapse_ratio": "collapse_ratio", "valid_anchor_share": "valid_anchors"}


class EpochStatistics:
    """Means of ContrastiveLoss.statistics over evenly spaced batches of an epoch; without a contrastive loss, none.

    `terms` names the losses that the epoch reports.
    """

    def __init__(self, loss: JointLoss, criteria: Sequence[str], num_batches: int) -> None:
        self.loss, self.terms = loss.contrastive_loss, loss.terms
        self.names = () if self.loss is None else self.loss.entry_names(criteria)
        self.interval = math.ceil(num_batches / MEASUREMENTS_PER_EPOCH)  # in batches
        self.measured: dict[str, list[Tensor]] = {name: [] for name in NAMES}  # statistic -> [criteria] per batch

    def add(
        self,
        index: int,
        embeddings: Tensor,
        yes_votes: Tensor,
        num_votes: Tensor,
        *,
        temperature: float | None,
        views: int = 1,
        domains: Tensor | None = None,
    ) -> None:
        """Measure batch `index` if it is one of the evenly spaced ones. `temperature` is that of its step."""
        if self.loss is None or index % self.interval:
            return
        with checks_put_off():  # the step has checked them
            statistics = self.loss.statistics(
                embeddings, yes_votes, num_votes, temperature=temperature, views=views, domains=domains
            )
        for name, values in self.measured.items():
            values.append(statistics[name])

    def means(self) -> dict[str, float]:
        """`excess`, `collapse_ratio`, `valid_anchors`: the mean over criteria, and `<name>/<criterion>`."""
        means: dict[str, float] = {}
        for name, measured in self.measured.items():
            if not measured:
                continue
            by_criterion = torch.stack(measured).nanmean(0).tolist()
            values = {key: value for key, value in zip(self.names, by_criterion, strict=True) if math.isfinite(value)}
            means |= {f"{NAMES[name]}/{key}": value for key, value in values.items()}
            if values:
                means[NAMES[name]] = sum(values.values()) / len(values)
        return means


def anchor_report(loss: JointLoss, batches: BatchSampler, criteria: Sequence[str], *, views: int = 1) -> list[str]:
    """The share of anchors in the coming batches in one line, and a warning for each criterion with too few of them."""
    contrastive = loss.contrastive_loss
    if contrastive is None or loss.lambda_contrastive == 0:
        return []
    anchors, counted = _expected(contrastive, batches, views)
    names = contrastive.entry_names(criteria)
    shares = ", ".join(f"{name} {share:.0%}" for name, share in zip(names, anchors, strict=True))
    if min(anchors) > PLENTY_OF_ANCHORS:
        shares = f"more than {PLENTY_OF_ANCHORS:.0%} for every criterion"
    lines = [f"valid anchors per batch: {shares}"]
    for name, share, batch_share in zip(names, anchors, counted, strict=True):
        if share < STARVING_ANCHORS or batch_share < STARVING_BATCHES:
            lines.append(
                f"warning: the contrastive loss will starve on {name}: {share:.1%} of the responses are anchors, and "
                f"{batch_share:.0%} of the batches count; {REMEDY_FOR_STARVING}"
            )
    return lines


def views_report(views: int, encoder: nn.Module, *, cutoff: float = 0.0) -> list[str]:
    """What two views cost, and a warning if nothing makes them differ. cutoff: data.view_cutoff."""
    if views == 1:
        return []
    unseen = f", the second time without {cutoff:.0%} of its tokens" if cutoff > 0 else ""
    lines = [f"two views: each step encodes every response twice{unseen}"]
    if cutoff == 0 and not any(isinstance(module, nn.Dropout) and module.p > 0 for module in encoder.modules()):
        lines.append(
            "warning: the encoder has no dropout, so both views of a response have equal embeddings; two views then "
            "teach hardly more than one"
        )
    return lines


def warm_up_report(settings: TrainerSettings) -> list[str]:
    """A warning for each warm-up that the run is too short for."""
    ends = {
        "lambda_warmup_epochs": ("lambda", settings.lambda_scale(settings.epochs)),
        "encoder_share_warmup_epochs": ("the encoder's share", settings.encoder_share(settings.epochs)),
    }
    return [
        f"warning: trainer.{name} is longer than the run: {what} ends at {share:.0%} of its value"
        for name, (what, share) in ends.items()
        if share < 1
    ]


def steps_report(steps_per_epoch: int, settings: TrainerSettings, lr: float) -> list[str]:
    """A warning if so few steps at rate `lr` (the highest of the schedule) can hardly train the encoder."""
    num_steps = steps_per_epoch * settings.epochs
    if num_steps * lr >= LITTLE_MOVEMENT:
        return []
    epochs = math.ceil(2 * LITTLE_MOVEMENT / (steps_per_epoch * lr))
    return [
        f"warning: {num_steps} steps at optimizer.lr={lr:g} hardly train an encoder: train longer "
        f"(trainer.epochs={epochs}), or raise optimizer.lr and optimizer.head_lr"
    ]


def _expected(loss: ContrastiveLoss, batches: BatchSampler, views: int) -> tuple[list[float], list[float]]:
    """Shares of anchors among the responses and of counted batches, per criterion."""
    examples = batches.examples
    anchors_and_counted = [
        loss.valid_anchors(
            torch.from_numpy(examples.yes_votes[batch]).repeat(views, 1),
            torch.from_numpy(examples.num_votes[batch]).repeat(views, 1),
            views=views,
            domains=None if examples.domains is None else torch.from_numpy(examples.domains[batch]).repeat(views),
        )
        for batch in islice(batches, BATCHES_TO_REPORT)
    ]
    used = [anchors & counted for anchors, counted in anchors_and_counted]
    return (
        torch.cat(used).float().mean(0).tolist(),
        torch.stack([counted for _, counted in anchors_and_counted]).float().mean(0).tolist(),
    )


def is_stuck(metrics: Mapping[str, float], settings: TrainerSettings, epoch: int) -> bool:
    """Whether a run that has trained `epoch` epochs has never left its start.

    metrics: of the epoch that was kept. Its classification head then ranks the valid responses hardly better than
    chance: it says the base rates to all. A run that is pruned in its first half, or ends within its warm-up, is too
    short to tell; one that left its start and fell back to it has kept the better epoch.
    """
    auroc = metrics.get("val/linear/auroc", metrics.get("val/auroc", 1.0))  # the first if another judge has the second
    lost_patience = settings.patience is not None and epoch > max(settings.patience, settings.lambda_warmup_epochs)
    return (_is_late(epoch, settings) or lost_patience) and auroc < STUCK_BELOW


def remedy_for_stuck(num_steps: int, lr: float) -> str:
    """What to do about a stuck run of so many steps at rate `lr`: with few, the rate is not what is too high."""
    few = num_steps < FEW_STEPS or num_steps * lr < LITTLE_MOVEMENT
    return REMEDY_FOR_FEW_STEPS if few else REMEDY_FOR_STUCK


def stuck_remark(metrics: Mapping[str, float], remedy: str) -> str:
    """What the record of a stuck run says, with the remedy."""
    auroc = metrics.get("val/linear/auroc", metrics["val/auroc"])
    return (
        f"Stuck: this run {STUCK} (val/auroc {auroc:.2f}; 0.5 is chance). To be compared with others, repeat it: "
        f"{remedy}."
    )


def _is_late(epoch: int, settings: TrainerSettings) -> bool:
    return epoch > max(settings.lambda_warmup_epochs, settings.epochs / 2)


def remarks(
    metrics: Mapping[str, float],
    criteria: Sequence[str],
    settings: TrainerSettings,
    epoch: int,
    *,
    projection: str,
    remedy: str = REMEDY_FOR_STUCK,
) -> dict[str, str]:
    """Warnings after `epoch`: kind of trouble (stuck, collapse, starvation, rank) -> one line.

    None in the first half of the run and while lambda warms up: clusters may still form. remedy: for a stuck run.
    """
    found: dict[str, str] = {}
    if not _is_late(epoch, settings):
        return found
    auroc = metrics.get("val/auroc", 1.0)
    if auroc < STUCK_BELOW:
        found["stuck"] = (
            f"warning: the judge is hardly better than chance (val/auroc {auroc:.2f}), as a run that has not left its "
            f"start: {remedy}"
        )
    if metrics.get("train/collapse_ratio", 0.0) > NO_CLUSTERS_ABOVE:
        equal = metrics.get("val/embedding/uniformity", 0.0) > COLLAPSED_ABOVE
        state = "all embeddings are nearly equal" if equal else "positives are no nearer than other pairs"
        found["collapse"] = (
            f"warning: {state}: the contrastive loss makes no progress; "
            "let lambda warm up longer (trainer.lambda_warmup_epochs), raise optimizer.head_lr, set "
            "model.normalization=batch_norm, or, if the criteria share one projection, give each its own "
            "(loss.contrastive.projection=per_criterion)"
        )
    starving = [name for name in criteria if metrics.get(f"train/valid_anchors/{name}", 1.0) < STARVING_ANCHORS]
    if starving:
        found["starvation"] = (
            f"warning: the contrastive loss starves on {', '.join(starving)}: fewer than {STARVING_ANCHORS:.0%} of the "
            f"responses are anchors; {REMEDY_FOR_STARVING}"
        )
    rank = metrics.get("val/embedding/effective_rank", math.inf)
    if projection == "shared" and len(criteria) > 1 and rank < COLLAPSED_RANK:  # of a slice, a low rank is the aim
        found["rank"] = (
            f"warning: the embeddings span {rank:.1f} dimensions; criteria cannot be told apart there: try "
            "loss.contrastive.projection=per_criterion, a higher loss.temperature or a smaller loss.lambda_contrastive"
        )
    return found

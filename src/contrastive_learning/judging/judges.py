"""What the `judge` configs build, and what becomes of it once a model is trained."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from contrastive_learning.choices import check_choice
from contrastive_learning.judging.by_vectors import Neighbours, Prototypes, check_size
from contrastive_learning.judging.mixing import choose_weights, mix
from contrastive_learning.metrics.evaluation import Evaluation, FloatArray
from contrastive_learning.projections import own_slices

SPACES = ("features", "embeddings")


@dataclass(frozen=True)
class MixedJudge:
    """The classification head of a trained model, mixed with a judge by vectors."""

    by_vectors: Neighbours | Prototypes
    space: str  # of SPACES: the vectors that it reads
    weights: FloatArray  # [criteria], of `by_vectors` beside the classification head
    training: Evaluation  # of the trained model on the training responses, in the order of their split

    def judged(self, evaluation: Evaluation) -> Evaluation:
        """The same evaluation with this judge's probabilities instead of the classification head's."""
        other = self.by_vectors.probabilities(getattr(evaluation, self.space))
        return replace(evaluation, probabilities=mix(evaluation.probabilities, other, self.weights))


@dataclass(frozen=True)
class LinearJudge:
    """The classification head by itself; the training responses are not looked at again."""

    def check(self, num_training: int) -> None:
        return None


@dataclass(frozen=True)
class NeighboursJudge:
    """The head, mixed with `Neighbours`. The weight per criterion is chosen on valid, see `choose_weights`.

    space: "features" [hidden], from which the training responses' mean is subtracted, or "embeddings" [dim]; with
    projection per_criterion each criterion has its own slice of these.
    """

    k: int
    temperature: float
    space: str

    def __post_init__(self) -> None:
        _check(self.temperature, self.space)
        if self.k < 1:
            raise ValueError(f"judge.k must be at least 1, got {self.k}")

    def check(self, num_training: int) -> None:
        """Raises ValueError if so many training responses cannot be searched."""
        check_size(num_training)

    def fit(self, training: Evaluation, valid: Evaluation) -> MixedJudge:
        """Both of the same trained model; the probabilities of `valid` are those of the classification head."""
        by_vectors = Neighbours.fit(
            getattr(training, self.space),
            training.yes_votes,
            training.num_votes,
            k=self.k,
            temperature=self.temperature,
            centre=_centre(training, self.space),
            parts=_parts(training, self.space),
        )
        return _mixed(by_vectors, self.space, training, valid)


@dataclass(frozen=True)
class PrototypesJudge:
    """The head, mixed with `Prototypes`; the rest is as in `NeighboursJudge`."""

    temperature: float
    space: str

    def __post_init__(self) -> None:
        _check(self.temperature, self.space)

    def check(self, num_training: int) -> None:
        return None

    def fit(self, training: Evaluation, valid: Evaluation) -> MixedJudge:
        """Both of the same trained model; the probabilities of `valid` are those of the classification head."""
        by_vectors = Prototypes.fit(
            getattr(training, self.space),
            training.yes_votes,
            training.num_votes,
            temperature=self.temperature,
            centre=_centre(training, self.space),
            parts=_parts(training, self.space),
        )
        return _mixed(by_vectors, self.space, training, valid)


Judge = LinearJudge | NeighboursJudge | PrototypesJudge


def _mixed(by_vectors: Neighbours | Prototypes, space: str, training: Evaluation, valid: Evaluation) -> MixedJudge:
    other = by_vectors.probabilities(getattr(valid, space))
    weights = choose_weights(valid.probabilities, other, valid.yes_votes, valid.num_votes)
    return MixedJudge(by_vectors, space, weights, training)


def _centre(training: Evaluation, space: str) -> FloatArray | None:
    mean: FloatArray = training.features.mean(axis=0)
    return mean if space == "features" else None


def _parts(training: Evaluation, space: str) -> Sequence[slice] | None:
    if space == "features" or training.projection == "shared":
        return None
    return own_slices(training.embeddings.shape[1], training.num_votes.shape[1])


def _check(temperature: float, space: str) -> None:
    check_choice("judge.space", space, SPACES)
    if not temperature > 0:
        raise ValueError(f"judge.temperature must be positive, got {temperature}")

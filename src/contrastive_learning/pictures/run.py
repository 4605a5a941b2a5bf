"""The pictures of one run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from contrastive_learning.choices import check_choice
from contrastive_learning.data.tokenized import TokenizedSplit
from contrastive_learning.metrics.evaluation import Evaluation
from contrastive_learning.pictures.history import EmbeddingHistory, Frame
from contrastive_learning.pictures.layout import PROJECTIONS, lay_out
from contrastive_learning.pictures.maps import EmbeddingMap, draw_map, draw_overview
from contrastive_learning.pictures.page import PageFrame, draw_page, thin_out
from contrastive_learning.pictures.projector import write_projector_files
from contrastive_learning.pictures.shown import PictureSample, main_criterion


@dataclass(frozen=True, kw_only=True)
class PictureSettings:
    """A `pictures` config."""

    projection: str  # pca, tsne, umap
    criterion: str | None  # colours the large map; None = the one with the most even votes
    sample_size: int
    projector_files: bool

    def __post_init__(self) -> None:
        check_choice("pictures.projection", self.projection, PROJECTIONS)


class RunPictures:
    """Collects a run's embeddings of one split and draws them; files go to `folder`.

    `objective` names the metric whose value stands on each picture; lambda 0 has no temperature.
    """

    def __init__(
        self,
        settings: PictureSettings,
        split: TokenizedSplit,
        criteria: Sequence[str],
        folder: Path,
        *,
        temperature: float | None,
        lambda_contrastive: float,
        objective: str,
    ) -> None:
        self.settings, self.folder, self.objective = settings, folder, objective
        self.sample = PictureSample.of(split, criteria, settings.sample_size)
        votes = self.sample.yes_votes, self.sample.num_votes
        self.criterion = settings.criterion or main_criterion(criteria, *votes)
        check_choice("pictures.criterion", self.criterion, criteria)
        self.title = f"λ {lambda_contrastive:.3g}"
        if temperature is not None and lambda_contrastive > 0:
            self.title = f"τ {temperature:.3g}   {self.title}"
        self.history = EmbeddingHistory(folder / "embedding_history.parquet", self.sample)

    def at_epoch(self, evaluation: Evaluation, epoch: int, value: float) -> bytes:
        """Record the epoch's embeddings; a PNG of them."""
        return draw_map(self._map(self.history.add(evaluation, epoch, value)), self.criterion)

    def at_end(self, evaluation: Evaluation, epoch: int, value: float) -> Iterator[tuple[Path, str | None]]:
        """Write everything, with `epoch` as the one that is kept. Yields each file and its folder in the record."""
        kept = self.history.add(evaluation, epoch, value)
        shown = self._map(kept)
        picture, page, points = (self.folder / f"embedding{end}" for end in (".png", ".html", "_map.parquet"))
        picture.write_bytes(draw_overview(shown, self.criterion))
        yield picture, None
        page.write_text(self._page(epoch), encoding="utf-8")
        yield page, None
        shown.write(points)
        yield points, "embeddings"
        yield self.history.path, "embeddings"
        if self.settings.projector_files:
            for path in write_projector_files(self.folder, self.sample, kept):
                yield path, "embeddings"

    def _page(self, epoch: int) -> str:
        chosen = thin_out([frame.epoch for frame in self.history], epoch)
        frames = [PageFrame(frame, self._map(frame)) for frame in self.history if frame.epoch in chosen]
        return draw_page(
            self.sample,
            frames,
            title=self.title,
            objective=self.objective,
            epoch=epoch,
            criterion=self.criterion,
        )

    def _map(self, frame: Frame) -> EmbeddingMap:
        sample = self.sample
        layout = lay_out(frame.embeddings, sample.yes_votes, sample.num_votes, self.settings.projection)
        when = "before training" if frame.epoch == 0 else f"epoch {frame.epoch}"
        return EmbeddingMap(
            self.title,
            when,
            f"{self.objective} {frame.value:.3f}",
            layout.note,
            layout.points,
            sample.yes_votes,
            sample.num_votes,
            sample.criteria,
        )

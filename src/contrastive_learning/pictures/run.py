"""Draws the pictures of one run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from contrastive_learning.choices import check_choice
from contrastive_learning.data.tokenized import TokenizedSplit
from contrastive_learning.metrics.evaluation import Evaluation
from contrastive_learning.pictures.history import EmbeddingHistory, Frame
from contrastive_learning.pictures.layout import PROJECTIONS, lay_out_spaces, own_unit
from contrastive_learning.pictures.maps import EmbeddingMap, draw_all_criteria, draw_map, draw_overview
from contrastive_learning.pictures.page import MOST_RESPONSES, PageFrame, draw_page, most_frames, thin_out
from contrastive_learning.pictures.projector import write_projector_files
from contrastive_learning.pictures.shown import ShownResponses, main_criterion


@dataclass(frozen=True, kw_only=True)
class PictureSettings:
    """What a `pictures` config builds."""

    projection: str  # pca, tsne, umap
    criterion: str | None  # of the large map; None = all of them every epoch, at the end the clearest slice
    sample_size: int  # how many responses are shown
    projector_files: bool

    def __post_init__(self) -> None:
        check_choice("pictures.projection", self.projection, PROJECTIONS)
        if self.sample_size > MOST_RESPONSES:
            raise ValueError(f"pictures.sample_size must be at most {MOST_RESPONSES}, got {self.sample_size}")


class RunPictures:
    """Collects a run's embeddings of one split and draws them; files go to `folder`.

    `objective` names the metric whose value each picture shows. The title leaves the temperature out if lambda is 0.
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
        self.shown = ShownResponses.of(split, criteria, settings.sample_size)
        votes = self.shown.yes_votes, self.shown.num_votes
        self.criterion = check_choice(
            "pictures.criterion", settings.criterion or main_criterion(criteria, *votes), criteria
        )
        self.title = f"λ {lambda_contrastive:.3g}"
        if temperature is not None and lambda_contrastive > 0:
            self.title = f"τ {temperature:.3g}   {self.title}"
        self.history = EmbeddingHistory(folder / "embedding_history.parquet", self.shown)

    def at_epoch(self, evaluation: Evaluation, epoch: int, value: float) -> bytes:
        """Record the epoch's embeddings. Returns a PNG of them. value: the objective."""
        shown = self._map(self.history.add(evaluation, epoch, value), evaluation.projection)
        if self.settings.criterion is None and len(shown.criteria) > 1:
            return draw_all_criteria(shown)
        return draw_map(shown, self.criterion)

    def at_end(
        self, evaluation: Evaluation, epoch: int, value: float, criterion: str
    ) -> Iterator[tuple[Path, str | None]]:
        """Write all files. Yields each file and its folder in the record.

        epoch: the one whose weights are kept; criterion: of the large map.
        """
        kept = self.history.add(evaluation, epoch, value)
        picture = self._map(kept, evaluation.projection)
        png, page, points = (self.folder / f"embedding{end}" for end in (".png", ".html", "_map.parquet"))
        png.write_bytes(draw_overview(picture, criterion))
        yield png, None
        page.write_text(self._page(epoch, evaluation.projection, criterion), encoding="utf-8")
        yield page, None
        picture.write(points)
        yield points, "embeddings"
        if (first := next(iter(self.history))).epoch == 0:
            before = self.folder / "embedding_map_before.parquet"
            self._map(first, evaluation.projection).write(before)
            yield before, "embeddings"
        yield self.history.path, "embeddings"
        if self.settings.projector_files:
            for path in write_projector_files(self.folder, self.shown, kept):
                yield path, "embeddings"

    def criterion_at_end(self, metrics: Mapping[str, float], projection: str) -> str:
        """The criterion of the settings, else the clearest. projection: how the criteria share the embeddings."""
        clearest = None if projection == "shared" else clearest_criterion(metrics, self.shown.criteria)
        return self.settings.criterion or clearest or self.criterion

    def _page(self, epoch: int, projection: str, criterion: str) -> str:
        shown, num_criteria = self.shown, len(self.shown.criteria)
        most = most_frames(len(shown.ids), 1 if projection == "shared" else num_criteria, num_criteria)
        chosen = thin_out([frame.epoch for frame in self.history], epoch, most)
        frames = [PageFrame(frame, self._map(frame, projection)) for frame in self.history if frame.epoch in chosen]
        (kept,) = (frame.embeddings for frame in self.history if frame.epoch == epoch)
        own = [kept] if projection == "shared" else [own_unit(kept, each, num_criteria) for each in range(num_criteria)]
        return draw_page(
            shown,
            frames,
            own,
            title=self.title,
            objective=self.objective,
            epoch=epoch,
            criterion=criterion,
        )

    def _map(self, frame: Frame, projection: str) -> EmbeddingMap:
        """projection: how the criteria share the embeddings."""
        shown = self.shown
        layouts = lay_out_spaces(
            frame.embeddings,
            shown.yes_votes,
            shown.num_votes,
            shared=projection == "shared",
            projection=self.settings.projection,
        )
        when = "before training" if frame.epoch == 0 else f"epoch {frame.epoch}"
        return EmbeddingMap(
            self.title,
            when,
            f"{self.objective} {frame.value:.3f}",
            layouts.note,
            layouts.points,
            shown.yes_votes,
            shown.num_votes,
            shown.criteria,
        )


def clearest_criterion(metrics: Mapping[str, float], criteria: Sequence[str]) -> str | None:
    """The criterion with the highest silhouette on valid in its own slice, the first of equals; None without any.

    metrics: of a run, with their prefixes.
    """
    names = {name: f"val/embedding/silhouette/{name}" for name in criteria}
    silhouettes = {name: metrics[key] for name, key in names.items() if key in metrics}
    return max(silhouettes, key=silhouettes.__getitem__, default=None)

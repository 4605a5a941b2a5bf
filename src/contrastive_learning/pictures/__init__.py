"""What the embeddings look like: pictures, an offline page, and the record they are drawn from."""

from contrastive_learning.pictures.maps import EmbeddingMap, draw_grid, draw_map
from contrastive_learning.pictures.reliability import Judged, draw_reliability
from contrastive_learning.pictures.run import PictureSettings, RunPictures
from contrastive_learning.pictures.shown import main_criterion

__all__ = [
    "EmbeddingMap",
    "Judged",
    "PictureSettings",
    "RunPictures",
    "draw_grid",
    "draw_map",
    "draw_reliability",
    "main_criterion",
]

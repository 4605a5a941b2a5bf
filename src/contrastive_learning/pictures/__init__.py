"""What the embeddings look like: pictures, an offline page, and the files they are drawn from.

In: a tokenised split, an `Evaluation` of it per epoch, settings. Out: PNGs, embedding.html, Parquet and projector
files. `RunPictures` draws one run, `side_by_side` makes one page of two; `neighbourhood` gives the places and
neighbours in the Parquet files; `draw_grid`, `draw_map`, `draw_measured` and `draw_reliability` serve the report of a
sweep.
Imports `data.tokenized` and `metrics`; only the application imports it.
"""

from contrastive_learning.pictures.maps import EmbeddingMap, Panel, draw_grid, draw_map
from contrastive_learning.pictures.measured import Measured, draw_measured
from contrastive_learning.pictures.neighbours import neighbourhood
from contrastive_learning.pictures.page import side_by_side
from contrastive_learning.pictures.reliability import Predictions, draw_reliability
from contrastive_learning.pictures.run import PictureSettings, RunPictures, clearest_criterion
from contrastive_learning.pictures.shown import main_criterion

__all__ = [
    "EmbeddingMap",
    "Measured",
    "Panel",
    "PictureSettings",
    "Predictions",
    "RunPictures",
    "clearest_criterion",
    "draw_grid",
    "draw_map",
    "draw_measured",
    "draw_reliability",
    "main_criterion",
    "neighbourhood",
    "side_by_side",
]

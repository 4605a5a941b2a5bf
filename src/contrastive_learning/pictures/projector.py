"""Files for the TensorBoard embedding projector (projector.tensorflow.org takes them too)."""

from pathlib import Path

import numpy as np

from contrastive_learning.pictures.history import Frame
from contrastive_learning.pictures.shown import PictureSample


def write_projector_files(folder: Path, sample: PictureSample, frame: Frame) -> tuple[Path, Path]:
    """vectors.tsv: one embedding a line; metadata.tsv: id, domain, votes (`2/3`) per criterion, text."""
    vectors, metadata = folder / "vectors.tsv", folder / "metadata.tsv"
    np.savetxt(vectors, frame.embeddings.astype(np.float32), fmt="%.5g", delimiter="\t")
    lines = ["\t".join(("id", "domain", *map(_cell, sample.criteria), "response"))]
    for row, (name, domain, response) in enumerate(zip(sample.ids, sample.domains, sample.responses, strict=True)):
        votes = (f"{yes}/{num}" for yes, num in zip(sample.yes_votes[row], sample.num_votes[row], strict=True))
        lines.append("\t".join((_cell(name), _cell(domain), *votes, _cell(response))))
    metadata.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return vectors, metadata


def _cell(text: str) -> str:
    return " ".join(text.split())

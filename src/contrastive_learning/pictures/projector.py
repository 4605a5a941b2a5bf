"""Files for the TensorBoard embedding projector, which projector.tensorflow.org reads, too."""

from pathlib import Path

import numpy as np

from contrastive_learning.pictures.history import Frame
from contrastive_learning.pictures.shown import ShownResponses


def write_projector_files(folder: Path, shown: ShownResponses, frame: Frame) -> tuple[Path, Path]:
    """Write vectors.tsv, one embedding per line, and metadata.tsv: id, domain, votes (`2/3`) per criterion, text."""
    vectors, metadata = folder / "vectors.tsv", folder / "metadata.tsv"
    np.savetxt(vectors, frame.embeddings.astype(np.float32), fmt="%.5g", delimiter="\t")
    lines = ["\t".join(("id", "domain", *map(_cell, shown.criteria), "response"))]
    for row, (name, domain, response) in enumerate(zip(shown.ids, shown.domains, shown.responses, strict=True)):
        votes = (f"{yes}/{num}" for yes, num in zip(shown.yes_votes[row], shown.num_votes[row], strict=True))
        lines.append("\t".join((_cell(name), _cell(domain), *votes, _cell(response))))
    metadata.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return vectors, metadata


def _cell(text: str) -> str:
    return " ".join(text.split())

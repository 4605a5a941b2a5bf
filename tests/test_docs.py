"""The papers and README files say what is true: links, commands and names in them exist."""

from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_licence_is_the_standard_text_with_the_copyright_line_filled_in():
    text, ours = (ROOT / "LICENSE").read_text(), "Copyright 2026 contrastive-quality contributors"
    assert text.count(ours) == 1
    blank = text.replace(ours, "Copyright [yyyy] [name of copyright owner]")
    # of https://www.apache.org/licenses/LICENSE-2.0.txt
    assert sha256(blank.encode()).hexdigest() == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"

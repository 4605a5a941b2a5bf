"""A judge as a folder of sentence-transformers: the same probabilities, decisions, vote shares and embeddings."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from contrastive_learning.judging import PrototypesJudge
from contrastive_learning.serving.huggingface import check_equal, joined, write_huggingface
from support.judges import CRITERIA, RESPONSES, export, loaded

pytest.importorskip("sentence_transformers", reason="the optional extra huggingface is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of transformers, in a call of the library

from sentence_transformers import SentenceTransformer  # noqa: E402

FITTING = RESPONSES[:3]  # the last fills the input by itself; of the third, the oldest context is left out
ROWS = pd.DataFrame([{"context": list(item.context), "response": item.response} for item in RESPONSES])
KINDS = [
    {"pooling": "mean", "normalization": "batch_norm"},
    {"pooling": "cls", "normalization": "layer_norm"},
    {"pooling": "mean", "normalization": "none"},
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_judges_as_the_judge_does(tmp_path, kind):
    evaluation = export(tmp_path / "judge", encoder="plain", **kind)
    write_huggingface(tmp_path / "judge", tmp_path / "out")
    folder = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    config = folder[0].model.config
    assert config.id2label == dict(enumerate(CRITERIA))
    assert config.problem_type == "multi_label_classification"
    texts = [joined(item.context, item.response, folder.tokenizer.sep_token) for item in FITTING]
    found = folder.encode(texts, output_value=None)
    probabilities, shares, embeddings = (
        torch.stack([row[name] for row in found]).numpy()
        for name in ("probabilities", "vote_shares", "sentence_embedding")
    )
    assert np.abs(probabilities - evaluation.probabilities[:3]).max() < 1e-6
    assert np.abs(embeddings - evaluation.embeddings[:3]).max() < 1e-6
    judged = loaded(tmp_path / "judge").predict(None, ROWS[:3])
    assert np.abs(shares - columns(judged, "vote_share")).max() < 1e-6
    assert ((probabilities > np.array(config.thresholds)) == columns(judged, "decision")).all()
    assert check_equal(loaded(tmp_path / "judge"), tmp_path / "out", ROWS)[1] == 3


def columns(judged, kind):
    return np.stack([judged[f"{kind}/{criterion}"] for criterion in CRITERIA], axis=1)


def test_a_tokenizer_that_reads_a_text_otherwise_than_its_parts_is_found(tmp_path):
    """Here it is one that does not put the prefix before the text."""
    export(tmp_path / "judge", encoder="plain")
    write_huggingface(tmp_path / "judge", tmp_path / "out")
    tokenizer = json.loads((tmp_path / "out/tokenizer.json").read_text(encoding="utf-8"))
    del tokenizer["post_processor"]["special_tokens"]["start"]
    tokenizer["post_processor"]["single"] = tokenizer["post_processor"]["single"][1:]
    (tmp_path / "out/tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    with pytest.raises(ValueError, match="--format hf: probabilities differ by .* from the judge's"):
        check_equal(loaded(tmp_path / "judge"), tmp_path / "out", ROWS)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({}, "^--format hf cannot express the token types of model=tiny: "),
        (
            {"encoder": "plain", "judge": PrototypesJudge(temperature=0.5, space="features")},
            "^--format hf cannot express judge=prototypes, ",
        ),
    ],
)
def test_what_no_module_can_do_is_refused_before_anything_is_written(tmp_path, changes, error):
    export(tmp_path / "judge", **changes)
    with pytest.raises(ValueError, match=error):
        write_huggingface(tmp_path / "judge", tmp_path / "out")
    assert not (tmp_path / "out").exists()

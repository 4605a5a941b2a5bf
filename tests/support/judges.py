"""A small exported judge."""

from dataclasses import replace

import numpy as np
import torch
from mlflow.pyfunc import PythonModelContext
from transformers import BertConfig, BertModel

from contrastive_learning import ContrastiveQualityModel
from contrastive_learning.data.inputs import encode
from contrastive_learning.data.responses import RatedResponse
from contrastive_learning.metrics.evaluation import predict
from contrastive_learning.model import ScratchEncoder
from contrastive_learning.serving import export_judge
from contrastive_learning.serving.judge import Judge

CRITERIA = ("문법", "specificity")
RESPONSES = [
    RatedResponse(str(index), "d", context, response, {}, str(index))
    for index, (context, response) in enumerate(
        [
            ((), "맑고 따뜻해요"),
            (("오늘 날씨 어때요",), "산책하기 좋아요"),
            (("안녕하세요 " * 9, "오늘 날씨 어때요"), "맑아요 " * 7),
            (("안녕하세요", "좋아요 " * 40), "따뜻해요 " * 40),
        ]
    )
]
MAX_LENGTH, PREFIX = 24, "query: "


def scratch_encoder(tokenizer_texts):
    scratch = ScratchEncoder(vocab_size=90, hidden_size=16, num_layers=2, num_heads=2, max_positions=32, dropout=0.0)
    tokenizer = scratch.tokenizer(tokenizer_texts)
    return scratch.encoder(tokenizer), tokenizer


def plain_bert(tokenizer):
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    return BertModel(config, add_pooling_layer=False)


def export(folder, *, encoder="segmented", pooling="cls", normalization="layer_norm", precision="fp32", judge=None):
    """Export a random model. Returns what it says about RESPONSES itself.

    judge: what mixes it with RESPONSES as training responses, half and half.
    """
    torch.manual_seed(0)
    segmented, tokenizer = scratch_encoder([turn for item in RESPONSES for turn in (*item.context, item.response)] * 3)
    model = ContrastiveQualityModel(
        "tiny",
        len(CRITERIA),
        8,
        encoder=segmented if encoder == "segmented" else plain_bert(tokenizer),
        pooling=pooling,
        normalization=normalization,
    )
    torch.nn.init.normal_(model.classification_head.weight)
    model.train()
    rows = encode(RESPONSES, tokenizer, max_length=MAX_LENGTH, prefix=PREFIX)
    width = max(map(len, rows))
    batch = {
        "input_ids": torch.tensor([row + [tokenizer.pad_token_id] * (width - len(row)) for row in rows]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),
        "yes_votes": torch.tensor([[0, 1], [3, 2], [3, 3], [1, 0]]),
        "num_votes": torch.full((len(rows), len(CRITERIA)), 3),
    }
    model(batch["input_ids"], batch["attention_mask"])  # gives batch_norm some statistics
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        evaluation = predict(model, [batch], torch.device("cpu"), "shared")
    mixed = None
    if judge is not None:
        mixed = replace(judge.fit(evaluation, evaluation), weights=np.array([0.5, 0.5]))
        evaluation = mixed.judged(evaluation)
    texts = [(item.context, item.response) for item in RESPONSES]
    lengths = {"max_length": MAX_LENGTH, "prefix": PREFIX}
    export_judge(
        folder,
        model,
        tokenizer,
        CRITERIA,
        evaluation,
        **lengths,
        precision=precision,
        judge=mixed,
        training_texts=texts,
    )
    return evaluation


def loaded(folder):
    """The judge in the folder, as MLflow loads it."""
    judge = Judge()
    judge.load_context(PythonModelContext(artifacts={"judge": str(folder)}, model_config=None))
    return judge

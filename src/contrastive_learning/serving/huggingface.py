"""Writes a judge as a folder that sentence-transformers loads, and transformers its encoder and tokenizer.

No `…ForSequenceClassification` of transformers computes what a judge does: each has a layer with tanh, GELU or ReLU of
its own between pooling and the last linear layer. The modules of sentence-transformers compute both heads exactly.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tokenizers import normalizers, processors
from torch import nn
from transformers import AutoModel, PreTrainedTokenizerFast

from contrastive_learning.serving.judge import Judge, Network

LARGEST_DIFFERENCE = 1e-4  # of a probability


def write_huggingface(judge: Path, out: Path) -> None:
    """Write the judge in the folder `judge` (of `export_judge`) to the new folder `out`.

    `SentenceTransformer(out).encode(texts, output_value=None)` gives per text `probabilities` and `vote_shares`
    [criteria], and `sentence_embedding` [dim] of unit norm; `joined` makes the texts. The encoder's configuration has
    the criteria as `id2label`, and `thresholds`: a probability above its threshold means yes.
    Raises ValueError if no module of sentence-transformers does what the judge does.
    """
    settings = json.loads((judge / "judge.json").read_text(encoding="utf-8"))
    check_expressible(settings)
    network = Network(judge, settings)
    _encoder(network, settings).save_pretrained(out)
    _tokenizer(judge / "tokenizer", settings).save_pretrained(out)
    _save_modules(out, network, settings)
    _name_known_class(out / "tokenizer_config.json")


def check_expressible(settings: dict[str, Any]) -> None:
    """Raises ValueError if the modules of sentence-transformers cannot do what the judge does. settings: judge.json."""
    if "by_vectors" in settings:
        kind = settings["by_vectors"]["kind"].lower()
        raise ValueError(f"--format hf cannot express judge={kind}, which compares with training responses: use onnx")
    if settings["token_types"]:
        raise ValueError("--format hf cannot express the token types of model=tiny: use onnx, or train model=hub")


def joined(context: Sequence[str], response: str, separator: str) -> str:
    """The text that the folder judges. context: turns, oldest first; separator: `sep_token` of its tokenizer.

    >>> joined(["Where to?", " "], "To the sea.", "[SEP]")
    'Where to?[SEP]To the sea.'
    """
    return separator.join([*(turn for turn in context if turn.strip()), response])


def check_equal(judge: Judge, out: Path, rows: pd.DataFrame) -> tuple[float, int]:
    """The largest difference of a probability in fp32, and of how many rows.

    judge: the one that was written to `out`. rows: the columns context (a list of turns) and response. Responses that
    fill the input by themselves are left out: the judge cuts their end, the folder their start. Raises ValueError if
    the difference is more than LARGEST_DIFFERENCE.
    """
    from sentence_transformers import SentenceTransformer

    exported = SentenceTransformer(str(out), device=str(judge.device), local_files_only=True)
    tokenizer = exported.tokenizer
    lengths = [len(tokens) for tokens in tokenizer(rows["response"].tolist(), verbose=False)["input_ids"]]
    fitting = rows[[length < tokenizer.model_max_length - 1 for length in lengths]]
    if fitting.empty:
        return 0.0, 0
    texts = [
        joined(context, response, tokenizer.sep_token)
        for context, response in zip(fitting["context"], fitting["response"], strict=True)
    ]
    found = exported.encode(texts, output_value=None, show_progress_bar=False)
    probabilities = torch.stack([row["probabilities"] for row in found]).cpu().double().numpy()
    judge.dtype = None
    judged = judge.predict(None, fitting)
    expected = judged[[f"probability/{criterion}" for criterion in judge.settings["criteria"]]].to_numpy()
    difference = float(abs(probabilities - expected).max())
    if difference > LARGEST_DIFFERENCE:
        raise ValueError(
            f"--format hf: probabilities differ by {difference:.2g} from the judge's; its tokenizer reads a text "
            "otherwise than the parts of it: use onnx"
        )
    return difference, len(fitting)


def _encoder(network: Network, settings: dict[str, Any]) -> Any:
    """The encoder as transformers builds it: a pooler that it has there, and the judge does not use, is zero."""
    config = network.encoder.config
    whole = AutoModel.from_config(config)
    weights = {name: torch.zeros_like(value) for name, value in whole.state_dict().items()}
    whole.load_state_dict(weights | network.encoder.state_dict())
    config = whole.config
    config.id2label = dict(enumerate(settings["criteria"]))
    config.label2id = {criterion: index for index, criterion in enumerate(settings["criteria"])}
    config.problem_type = "multi_label_classification"
    config.thresholds = settings["thresholds"]
    return whole


def _tokenizer(folder: Path, settings: dict[str, Any]) -> PreTrainedTokenizerFast:
    """Composes the text, puts the prefix before it, and cuts its start if it is too long."""
    own = PreTrainedTokenizerFast.from_pretrained(folder)
    composed = normalizers.NFC()
    prefix = own(composed.normalize_str(settings["prefix"]), add_special_tokens=False)["input_ids"]
    backend = own.backend_tokenizer
    before = [] if backend.normalizer is None else [backend.normalizer]
    backend.normalizer = normalizers.Sequence([composed, *before])
    first = [] if own.cls_token_id is None else [own.cls_token_id]
    around = {"start": [*first, *prefix], "end": [own.sep_token_id]}
    pieces = [{"id": name, "ids": ids, "tokens": own.convert_ids_to_tokens(ids)} for name, ids in around.items() if ids]
    template = f"{'start ' if around['start'] else ''}$A end"
    backend.post_processor = processors.TemplateProcessing(single=template, special_tokens=pieces)
    special = {name: token for name, token in own.special_tokens_map.items() if isinstance(token, str)}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        **special,
        model_max_length=settings["max_length"],
        truncation_side="left",
        padding_side="right",
    )


def _save_modules(out: Path, network: Network, settings: dict[str, Any]) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    head, (first, gelu, last) = network.classification_head, network.projection_head
    slopes, offsets = torch.tensor(settings["vote_shares"]).T
    shares = nn.Linear(head.in_features, head.out_features)
    with torch.no_grad():
        shares.weight.copy_(head.weight * slopes[:, None])
        shares.bias.copy_(head.bias * slopes + offsets)
    modules = [
        Transformer(str(out)),
        Pooling(head.in_features, settings["pooling"]),
        *_normalization(network.normalization),
        _dense(head, nn.Sigmoid(), "probabilities"),
        _dense(shares, nn.Sigmoid(), "vote_shares"),
        _dense(first, gelu),
        _dense(last, nn.Identity()),
        Normalize(),
    ]
    SentenceTransformer(modules=modules, device="cpu").save(str(out), create_model_card=False)


def _normalization(module: nn.Module) -> list[Any]:
    from sentence_transformers.sentence_transformer.modules import LayerNorm

    if isinstance(module, nn.Identity):
        return []
    if isinstance(module, nn.LayerNorm):
        norm = LayerNorm(module.normalized_shape[0])
        norm.norm.load_state_dict(module.state_dict())
        return [norm]
    assert isinstance(module, nn.BatchNorm1d)
    linear = nn.Linear(module.num_features, module.num_features)  # what it is with its recorded statistics
    with torch.no_grad():
        linear.bias.copy_(module(torch.zeros(1, module.num_features))[0])
        linear.weight.copy_(torch.diag(module(torch.ones(1, module.num_features))[0] - linear.bias))
    return [_dense(linear, nn.Identity())]


def _dense(linear: Any, activation: Any, output: str | None = None) -> Any:
    """output: the name of what it gives, beside the features that it reads; None: it replaces these."""
    from sentence_transformers.base.modules import Dense

    shape = linear.in_features, linear.out_features
    dense = Dense(*shape, activation_function=activation, module_output_name=output)
    dense.linear.load_state_dict(linear.state_dict())
    return dense


def _name_known_class(file: Path) -> None:
    """transformers 5 writes a name of the tokenizer's class that 4 does not know; both know this one."""
    content = json.loads(file.read_text(encoding="utf-8"))
    content["tokenizer_class"] = "PreTrainedTokenizerFast"
    file.write_text(json.dumps(content, ensure_ascii=False, indent=2), encoding="utf-8")

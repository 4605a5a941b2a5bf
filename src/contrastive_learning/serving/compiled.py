"""Writes a judge for another runtime: its folder with a compiled network instead of the weights, in fp32 or int8."""

import json
import logging
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from contrastive_learning.serving import runtimes
from contrastive_learning.serving.export import RUNTIME_PACKAGES, WEIGHTS
from contrastive_learning.serving.judge import Network

INPUTS, OUTPUTS = ("input_ids", "attention_mask"), ("logits", "features", "embeddings")
NETWORKS = {"onnx": "model.onnx", "openvino": "model.xml"}
MOST_CALIBRATED = 100  # responses whose activations say how these are rounded


def write_compiled(judge: Path, out: Path, runtime: str) -> None:
    """Write the judge in the folder `judge` (of `export_judge`) to the new folder `out`, which judge.py reads, too.

    runtime: onnx or openvino. All that is not the network stays as it is: criteria, thresholds, tokenizer, vectors.
    """
    settings = json.loads((judge / "judge.json").read_text(encoding="utf-8"))
    network = Network(judge, settings)
    shutil.copytree(judge, out, ignore=shutil.ignore_patterns(WEIGHTS, "encoder.json"))
    shutil.copy(runtimes.__file__, out / "runtimes.py")
    settings |= {"runtime": runtime, "hidden_size": network.hidden, "precision": "fp32"}
    (out / "judge.json").write_text(json.dumps(settings, ensure_ascii=False, indent=2), encoding="utf-8")
    # two rows, one shorter: a graph that is traced on less takes sizes for constants
    example = torch.full((2, 7), settings["sep_token_id"]), torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracers, about what transformers decides in Python
        if runtime == "onnx":
            _write_onnx(network, example, out / NETWORKS[runtime])
        else:
            _write_openvino(network, example, out / NETWORKS[runtime])


def write_int8(compiled: Path, out: Path, tokens: Sequence[Sequence[int]]) -> None:
    """Write the judge in the folder `compiled` (of `write_compiled`) with int8 weights and activations to `out`.

    tokens: of some responses. OpenVINO's activations are rounded as these need it; those of onnx as each batch does.
    """
    runtime = json.loads((compiled / "judge.json").read_text(encoding="utf-8"))["runtime"]
    shutil.copytree(compiled, out, ignore=shutil.ignore_patterns("model.*"))
    if runtime == "onnx":
        _quantize_onnx(compiled / NETWORKS[runtime], out / NETWORKS[runtime])
    else:
        _quantize_openvino(compiled / NETWORKS[runtime], out / NETWORKS[runtime], tokens[:MOST_CALIBRATED])


def packages_to_write(runtime: str, *, int8: bool) -> list[str]:
    """That `write_compiled` and `write_int8` import."""
    other = ["onnx"] if runtime == "onnx" else ["nncf"] if int8 else []
    return [RUNTIME_PACKAGES[runtime], *other]


def _write_onnx(network: Network, example: tuple[Tensor, Tensor], file: Path) -> None:
    # the exporter by torch.export took ten times as long, and its graph ran at two thirds of the speed (torch 2.13)
    torch.onnx.export(
        network,
        example,
        file,
        dynamo=False,
        input_names=INPUTS,
        output_names=OUTPUTS,
        dynamic_axes={name: {0: "batch", 1: "tokens"} for name in INPUTS} | {name: {0: "batch"} for name in OUTPUTS},
    )


def _write_openvino(network: Network, example: tuple[Tensor, Tensor], file: Path) -> None:
    import openvino

    model = openvino.convert_model(network, example_input=example)
    openvino.save_model(model, file, compress_to_fp16=False)


def _quantize_onnx(file: Path, out: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.disable(logging.WARNING)  # it advises a step that this graph does not need
    try:
        quantize_dynamic(
            file, out, per_channel=True, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"]
        )
    finally:
        logging.disable(logging.NOTSET)


def _quantize_openvino(file: Path, out: Path, tokens: Sequence[Sequence[int]]) -> None:
    import nncf
    import openvino

    def inputs(row: Sequence[int]) -> list[Any]:
        ids = torch.tensor([row])
        return [ids.numpy(), torch.ones_like(ids).numpy()]

    model = nncf.quantize(
        openvino.Core().read_model(file),
        nncf.Dataset(tokens, inputs),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(tokens),
    )
    openvino.save_model(model, out, compress_to_fp16=False)

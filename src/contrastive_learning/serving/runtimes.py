# SPDX-License-Identifier: Apache-2.0
"""What runs a compiled network. This file lies next to it, as judge.py has it, and imports nothing of the package."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class OnnxNetwork:
    """`Network` of judge.py, compiled for the CPUs of onnxruntime."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        import onnxruntime

        self.hidden = settings["hidden_size"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as OMP_WAIT_POLICY of judge.py
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", options, ["CPUExecutionProvider"])

    def __call__(self, input_ids: Tensor, attention_mask: Tensor) -> list[Tensor]:
        inputs = {"input_ids": input_ids.numpy(), "attention_mask": attention_mask.numpy()}
        return [torch.from_numpy(output) for output in self.session.run(None, inputs)]


class OpenvinoNetwork:
    """`Network` of judge.py, compiled for the CPUs of OpenVINO. Layers that are not quantized compute in fp32."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        import openvino

        self.hidden = settings["hidden_size"]
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        self.model = openvino.Core().compile_model(folder / "model.xml", "CPU", options)

    def __call__(self, input_ids: Tensor, attention_mask: Tensor) -> list[Tensor]:
        request = self.model.create_infer_request()  # one per call: a server calls from several threads
        found = request.infer([input_ids.numpy(), attention_mask.numpy()])
        return [torch.from_numpy(found[number].copy()) for number in range(3)]


RUNTIMES = {"onnx": OnnxNetwork, "openvino": OpenvinoNetwork}

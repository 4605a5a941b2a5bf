"""Checks a pretrained encoder before data are read: its files, its tokenizer, its positions, its weights.

Each raises ValueError: one line that says what is wrong with it and what to do.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel

LFS_POINTER = b"version https://git-lfs"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
POSITIONS = ("position_embeddings", "wpe", "embed_positions")  # what transformers calls learned positions
POOLER = "pooler."  # the weights that an encoder may lack: we pool ourselves
NEEDED_TOKENS = ("pad_token", "sep_token", "cls_token")


def check_files(folder: Path) -> None:
    """Refuse a folder whose config, tokenizer or weights are missing, cut off, or pointers of Git LFS."""
    if not (folder / "config.json").exists():
        raise ValueError(f"{folder} is no encoder of transformers: it has no config.json")
    for file in sorted(path for pattern in ("*.json", "*.txt", "*.model") for path in folder.glob(pattern)):
        _check_no_pointer(file)
    for name in _weight_files(folder):
        file = folder / name
        if not file.exists():
            raise ValueError(f"{folder} has no {name}: {_other_weights(folder)}")
        _check_no_pointer(file)
        _check_whole(file)


def check_tokenizer(name: str, tokenizer: Any) -> None:
    """Refuse a tokenizer that cannot build [CLS] context [SEP] response [SEP] or is not a fast one."""
    if not tokenizer.is_fast:
        raise ValueError(f"{name} has no fast tokenizer: save one there as tokenizer.json, or choose another encoder")
    missing = [token for token in NEEDED_TOKENS if getattr(tokenizer, token, None) is None]
    if missing:
        raise ValueError(
            f"the tokenizer of {name} has no {' and no '.join(missing)}, which separate context and response: choose "
            "an encoder such as BERT or RoBERTa, or name tokens of its vocabulary for them in its tokenizer_config.json"
        )


def check_architecture(name: str, config: Any, tokenizer: Any, max_length: int) -> None:
    """Refuse an encoder with fewer embeddings than the tokenizer has tokens, or fewer positions than `max_length`.

    Also one with a decoder, one of images or sound, and one with quantized weights.
    """
    if getattr(config, "quantization_config", None) is not None:
        raise ValueError(
            f"{name} has quantized weights (quantization_config in its config.json), which cannot be fine-tuned: "
            "choose the encoder that it was made from"
        )
    if config.is_encoder_decoder:
        raise ValueError(f"{name} is an encoder with a decoder ({config.model_type}); choose one without, as BERT is")
    try:
        with torch.device("meta"):  # without memory for weights, and without drawing random numbers
            encoder = AutoModel.from_config(config)
    except (ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{name} is no encoder that transformers can build: {reason}") from error
    if encoder.main_input_name != "input_ids" or not hasattr(config, "hidden_size"):
        raise ValueError(f"{name} ({config.model_type}) does not encode text only; choose an encoder such as BERT")
    num_embeddings = encoder.get_input_embeddings().num_embeddings
    num_tokens = 1 + max(tokenizer.get_vocab().values())
    if num_tokens > num_embeddings:
        raise ValueError(
            f"the tokenizer of {name} has {num_tokens} tokens, but the encoder embeds {num_embeddings}: they do not "
            "belong together, or tokens were added without resize_token_embeddings"
        )
    positions = num_positions(encoder)
    if positions is not None and max_length > positions:
        raise ValueError(
            f"data.max_length={max_length} is more than the {positions} positions of {name}: set data.max_length to at "
            f"most {positions}"
        )


def check_weights(name: str, info: Mapping[str, Collection[Any]]) -> None:
    """Refuse weights that do not fill the encoder, as the loading info of `from_pretrained` tells; no pooler is needed.

    info: missing_keys and unexpected_keys are names; mismatched_keys are (name, shape in the file, shape of the
    encoder).
    """
    mismatched = sorted(entry for entry in info["mismatched_keys"] if not entry[0].startswith(POOLER))
    if mismatched:
        key, found, expected = mismatched[0]
        raise ValueError(
            f"the weights of {name} contradict its config.json: {key} is {list(found)}, not {list(expected)}, and "
            f"{len(mismatched)} in all differ; take both from the same download"
        )
    missing = sorted(key for key in info["missing_keys"] if not key.startswith(POOLER))
    if missing:
        found = f" (the file has {min(info['unexpected_keys'])})" if info["unexpected_keys"] else ""
        raise ValueError(
            f"the weights of {name} do not fill its encoder: {len(missing)} are missing, such as {missing[0]}{found}; "
            "write them with save_pretrained of transformers"
        )


def num_positions(encoder: nn.Module) -> int | None:
    """The longest input in tokens; None if the encoder has no table of positions.

    RoBERTa and its kin number positions from padding_idx + 1: of 514 rows they use 512.
    """
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Embedding) and name.rsplit(".", 1)[-1] in POSITIONS:
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - first
    return None


def _weight_files(folder: Path) -> list[str]:
    index = folder / INDEX
    if (folder / WEIGHTS).exists() or not index.exists():
        return [WEIGHTS]
    _check_no_pointer(index)
    return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))


def _other_weights(folder: Path) -> str:
    if list(folder.glob("*.bin")):
        return "convert its .bin weights, which can run code when they are loaded: model.save_pretrained(FOLDER)"
    return "download the encoder whole, or choose another folder"


def _check_no_pointer(file: Path) -> None:
    with file.open("rb") as stream:
        if stream.read(len(LFS_POINTER)) == LFS_POINTER:
            raise ValueError(f"{file} is a pointer of Git LFS, not the file itself: run git lfs pull in its folder")


def _check_whole(file: Path) -> None:
    """By its header: 8 bytes with the header's length, the header in JSON with each tensor's place, the tensors."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        try:
            header = json.loads(stream.read(length)) if 0 < length <= size - 8 else None
        except ValueError:
            header = None
    if header is None:
        raise ValueError(f"{file} is cut off or no safetensors file ({size:,} bytes): download it again")
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise ValueError(f"{file} is cut off: it has {size:,} of {expected:,} bytes; download it again")

"""Small real folders, as transformers writes them, and damaged ones."""

import json
from itertools import pairwise

import pytest
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2Model,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5Model,
    ViTConfig,
    ViTModel,
)

from contrastive_learning.model.encoder_checks import num_positions
from contrastive_learning.model.encoders import PretrainedEncoder, ScratchEncoder

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
TEXTS = ["안녕하세요 오늘 날씨 어때요", "맑고 따뜻해요"] * 5
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 443\n"


def tokenizer(vocab_size=100):
    scratch = ScratchEncoder(
        vocab_size=vocab_size, hidden_size=16, num_layers=1, num_heads=2, max_positions=32, dropout=0.0
    )
    return scratch.tokenizer(TEXTS)


def save(folder, model, tokens=None):
    model.save_pretrained(folder)
    (tokens or tokenizer()).save_pretrained(folder)
    return PretrainedEncoder(str(folder))


def bert(**changes):
    return BertModel(BertConfig(**SMALL | {"vocab_size": 100, "max_position_embeddings": 32} | changes))


def roberta():
    return RobertaModel(RobertaConfig(**SMALL, vocab_size=100, max_position_embeddings=34, pad_token_id=1))


def test_a_whole_folder_passes_up_to_its_positions(tmp_path):
    encoder = save(tmp_path, bert())
    encoder.check(32)
    with pytest.raises(ValueError, match=r"max_length=33 is more than the 32 positions of .*: set .* at most 32$"):
        encoder.check(33)


def test_a_roberta_loses_the_positions_up_to_that_of_padding(tmp_path):
    """It numbers positions from pad_token_id + 1 = 2, so of 34 rows it uses 32."""
    encoder = save(tmp_path, roberta())
    encoder.check(32)
    with pytest.raises(ValueError, match=r"data\.max_length=33 is more than the 32 positions"):
        encoder.check(33)
    assert num_positions(roberta()) == 32


def test_the_positions_of_a_scratch_encoder_are_an_option():
    scratch = ScratchEncoder(vocab_size=90, hidden_size=16, num_layers=1, num_heads=2, max_positions=512, dropout=0.0)
    scratch.check(512)
    with pytest.raises(ValueError, match=r"more than the 512 positions .* raise model\.encoder\.max_positions$"):
        scratch.check(1024)


def test_a_tokenizer_without_separator_and_padding_is_one_line(tmp_path):
    tokens = tokenizer()
    tokens.pad_token = tokens.sep_token = tokens.cls_token = None
    gpt = GPT2Model(GPT2Config(vocab_size=100, n_positions=32, n_embd=16, n_layer=1, n_head=2))
    with pytest.raises(ValueError, match="has no pad_token and no sep_token and no cls_token, which separate"):
        save(tmp_path, gpt, tokens).check(16)


def test_a_tokenizer_larger_than_the_embeddings_is_one_line(tmp_path):
    size = len(tokenizer())
    encoder = save(tmp_path, bert(vocab_size=size))
    encoder.check(32)
    encoder = save(tmp_path, bert(vocab_size=size - 1))
    with pytest.raises(ValueError, match=f"has {size} tokens, but the encoder embeds {size - 1}: they do not belong"):
        encoder.check(32)


def test_an_encoder_with_a_decoder_is_one_line(tmp_path):
    t5 = T5Model(T5Config(vocab_size=100, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2))
    with pytest.raises(ValueError, match=r"is an encoder with a decoder \(t5\)"):
        save(tmp_path, t5).check(16)


def test_an_encoder_of_images_is_one_line(tmp_path):
    vit = ViTModel(ViTConfig(**SMALL, image_size=8, patch_size=4))
    with pytest.raises(ValueError, match=r"\(vit\) does not encode text only"):
        save(tmp_path, vit).check(16)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_of_git_lfs_is_named(tmp_path, name):
    encoder = save(tmp_path, bert())
    (tmp_path / name).write_text(POINTER)
    with pytest.raises(ValueError, match=f"{name} is a pointer of Git LFS, not the file itself: run git lfs pull"):
        encoder.check(32)


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_weights_that_are_cut_off_are_found_by_their_header(tmp_path, kept):
    encoder = save(tmp_path, bert())
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"model\.safetensors is cut off.*download it again$"):
        encoder.check(32)


def test_missing_weights_are_named_in_one_part_or_several(tmp_path):
    encoder = save(tmp_path, bert())
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"has no model\.safetensors: download the encoder whole"):
        encoder.check(32)
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(ValueError, match=r"has no model\.safetensors: convert its \.bin weights"):
        encoder.check(32)
    bert().save_pretrained(tmp_path, max_shard_size="4KB")
    encoder.check(32)
    parts = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(parts) > 1
    parts[-1].unlink()
    with pytest.raises(ValueError, match=f"has no {parts[-1].name}"):
        encoder.check(32)


def rename(folder, change):
    """Write the weights of `folder` again, each tensor as `change` calls it; without those that it calls None."""
    file = folder / "model.safetensors"
    named = {change(key): value for key, value in load_file(file).items()}
    named.pop(None, None)
    save_file(named, file, metadata={"format": "pt"})


LOADS = {"checked": lambda encoder: encoder.check(32), "loaded": lambda encoder: encoder.encoder(None)}
COMPILED = r"\d\d are missing, such as embeddings\.\S+ \(the file has _orig_mod\.embeddings\.\S+\); write them with"
HAS_GAP = r" 1 are missing, such as encoder\.\S+query\.bias; write them with"


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda key: f"_orig_mod.{key}", COMPILED, id="by torch.compile"),
        pytest.param(lambda key: None if "query.bias" in key else key, HAS_GAP, id="one is missing"),
    ],
)
def test_weights_under_other_names_are_not_replaced_by_random_ones(tmp_path, load, change, message):
    encoder = save(tmp_path, bert())
    rename(tmp_path, change)
    with pytest.raises(ValueError, match=message):
        load(encoder)


def test_weights_without_a_pooler_pass_and_load_as_they_are(tmp_path):
    model = bert()
    encoder = save(tmp_path, model)
    rename(tmp_path, lambda key: None if key.startswith("pooler.") else key)
    encoder.check(32)
    loaded, saved = encoder.encoder(None).state_dict(), model.state_dict()
    assert loaded.keys() == {key for key in saved if not key.startswith("pooler.")}
    assert all(loaded[key].equal(saved[key]) for key in loaded)


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
def test_weights_that_contradict_the_config_are_one_line(tmp_path, load):
    encoder = save(tmp_path, bert())
    edit_config(tmp_path, intermediate_size=48)
    message = r"contradict its config\.json: encoder\S+ is \[16\], not \[48\], and 3 in all differ"
    with pytest.raises(ValueError, match=message):
        load(encoder)


def test_quantized_weights_are_one_line(tmp_path):
    encoder = save(tmp_path, bert())
    edit_config(tmp_path, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    with pytest.raises(ValueError, match=r"has quantized weights .* cannot be fine-tuned"):
        encoder.check(32)


def edit_config(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_folder_of_something_else_is_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"is no encoder of transformers: it has no config\.json"):
        PretrainedEncoder(str(tmp_path)).check(32)
    (tmp_path / "config.json").write_text(json.dumps({"some": "settings"}))
    encoder = save(tmp_path, bert())
    (tmp_path / "config.json").write_text(json.dumps({"some": "settings"}))
    with pytest.raises(ValueError, match="cannot load .*: ") as error:
        encoder.check(32)
    assert "\n" not in str(error.value)


def test_the_check_draws_no_random_numbers(tmp_path):
    import torch

    encoder = save(tmp_path, bert())
    states = []
    for check in (False, True):
        torch.manual_seed(0)
        if check:
            encoder.check(32)
        states.append(torch.get_rng_state())
    assert all(torch.equal(*pair) for pair in pairwise(states))

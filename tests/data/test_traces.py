"""What a chatbot was asked and answered, in the shapes in which traces of MLflow hold it."""

import pytest

from contrastive_learning.data.traces import texts_of

CHAT = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "어디로 갈까?"}]
PARTS = {"role": "assistant", "content": [{"type": "text", "text": "바다요."}]}


@pytest.mark.parametrize(
    ("inputs", "context"),
    [
        (None, ()),
        ({}, ()),
        ("어디로 갈까?", ("어디로 갈까?",)),
        (["안녕", "어디로 갈까?"], ("안녕", "어디로 갈까?")),
        (CHAT, ("Be kind.", "어디로 갈까?")),
        ({"messages": CHAT, "model": "m"}, ("Be kind.", "어디로 갈까?")),
        ({"context": ["안녕"], "prompt": "어디로 갈까?", "user": "kim"}, ("안녕", "어디로 갈까?")),
        ({"question": "어디로 갈까?", "top_k": 3}, ("어디로 갈까?",)),
    ],
)
def test_what_was_asked_is_the_context(inputs, context):
    assert texts_of(inputs, "바다요.").context == context


@pytest.mark.parametrize(
    "outputs",
    [
        "바다요.",
        {"response": "바다요.", "model": "m"},
        {"answer": "바다요.", "seconds": 3},
        {"content": "바다요.", "role": "assistant", "id": "1"},
        {"choices": [{"message": PARTS, "finish_reason": "stop"}]},
        {"messages": [*CHAT, PARTS]},
        [*CHAT, PARTS],
    ],
)
def test_the_last_answer_is_the_response(outputs):
    assert texts_of(CHAT, outputs) == (("Be kind.", "어디로 갈까?"), "바다요.", "어디로 갈까?")


@pytest.mark.parametrize(
    ("inputs", "outputs", "told"),
    [
        ({"a": "x", "b": "y"}, "z", "inputs must have context, prompt, messages, conversations, or one field that is"),
        ("x", {"a": "y", "b": "z"}, "outputs must have response, choices, messages or content, or one field that is a"),
        ("x", {"a": 3}, "text; got a$"),
        ("x", None, "outputs must be"),
        ("x", " ", "response must not be empty"),
        ("x", {"choices": []}, "choices must be a list of objects"),
    ],
)
def test_what_cannot_be_read_is_one_line(inputs, outputs, told):
    with pytest.raises(ValueError, match=told):
        texts_of(inputs, outputs)

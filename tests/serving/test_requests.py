"""What MLflow's scoring server answers for a judge, in this process; test_judge.py starts the real server."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import mlflow
import pandas as pd
import pytest
from mlflow.pyfunc import scoring_server

from contrastive_learning.tracking.models import write_model
from support.judges import CRITERIA, export, loaded

pytest.importorskip("httpx2", reason="the client of the in-process server is not installed")


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Sends a request, a text or what is written as JSON. Returns status and answer."""
    from starlette.testclient import TestClient

    folder = tmp_path_factory.mktemp("served")
    export(folder / "judge")
    write_model(folder / "model", folder / "judge", CRITERIA)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")  # the server sets it for the whole process
        app = scoring_server.init(mlflow.pyfunc.load_model(str(folder / "model")))
        client = TestClient(app, raise_server_exceptions=False)

        def send(body):
            text = body if isinstance(body, str) else json.dumps(body)
            answer = client.post("/invocations", content=text, headers={"content-type": "application/json"})
            return answer.status_code, answer.json()

        yield send


def rows(*given, **more):
    return {"dataframe_records": list(given)} | more


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (rows({"context": ["안녕"]}), "each row needs a response, got the columns context"),
        (rows(), "each row needs a response, got the columns none"),
        ({"messages": [{"role": "user", "content": "안녕"}]}, "each row needs a response, got the columns none"),
        (rows({"response": "좋아요"}, {"response": " "}), "every response must be .* not empty, got ' ' in row 2"),
        (rows({"response": 3}), "every response must be a text that is not empty, got 3 in row 1"),
        (rows({"response": None}), "every response must be a text that is not empty, got None in row 1"),
        (rows({"response": "좋아요", "context": [1, 2]}), r"context must be a list .* or one text, got \[1, 2\]"),
        (rows({"response": "좋아요", "context": {"a": "b"}}), "context must be a list .* or one text, got {'a': 'b'}"),
        (rows({"response": "좋아요"}, params={"neighbours": 3}), "this judge has no neighbours to give as reasons: .*"),
    ],
)
def test_a_bad_request_is_400_with_one_line(ask, body, told):
    status, answer = ask(body)
    assert (status, answer["error_code"], "stack_trace" in answer) == (400, "INVALID_PARAMETER_VALUE", False)
    assert re.fullmatch(told, answer["message"])


@pytest.mark.parametrize(
    "body", ["no json", "[]", {}, {"dataframe_split": {"columns": ["response"], "data": [[1, 2]]}}]
)
def test_what_is_no_table_is_refused_before_the_judge_sees_it(ask, body):
    status, answer = ask(body)
    assert (status, answer["error_code"]) == (400, "BAD_REQUEST")


def test_the_rows_of_a_request_are_batched_by_length(tmp_path):
    """So that short responses are not padded to the longest; the answers come in the order of the rows."""
    export(tmp_path / "judge")
    judge, lengths = loaded(tmp_path / "judge"), []
    judge.network.register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[1].sum(1).tolist()))
    responses = pd.DataFrame({"response": ["좋아요 " * (1 + 7 * row % 20) for row in range(70)]})
    judged = judge.predict(None, responses)
    assert [len(batch) for batch in lengths] == [32, 32, 6]
    seen = [length for batch in lengths for length in batch]
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) > 10
    single = [judge.predict(None, responses[row : row + 1]).iloc[0] for row in (0, 1, 69)]
    for row, alone in zip((0, 1, 69), single, strict=True):
        assert alone.tolist() == pytest.approx(judged.iloc[row].tolist(), abs=1e-6)


def asked_together(judge, responses):
    """What each of as many threads gets that ask for one response at the same time; an exception if it is one."""
    with ThreadPoolExecutor(len(responses)) as threads:
        with judge.turn:
            answers = [threads.submit(judge.predict, None, pd.DataFrame({"response": [each]})) for each in responses]
            while len(judge.waiting) < len(responses):
                time.sleep(0.01)
        return [answer.exception() or answer.result() for answer in answers]


def test_small_requests_that_wait_are_judged_in_one_batch(tmp_path):
    export(tmp_path / "judge")
    judge, sizes = loaded(tmp_path / "judge"), []
    responses = ["좋아요 " * (1 + row) for row in range(5)]
    alone = [judge.predict(None, pd.DataFrame({"response": [each]})) for each in responses]
    judge.network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    for found, expected in zip(asked_together(judge, responses), alone, strict=True):
        assert found.iloc[0].tolist() == pytest.approx(expected.iloc[0].tolist(), abs=1e-6)
    assert sizes == [5]
    assert judge.waiting == []


def test_an_error_reaches_every_request_of_its_batch_and_none_after_it(tmp_path):
    export(tmp_path / "judge")
    judge = loaded(tmp_path / "judge")

    def no_memory(*_):
        raise RuntimeError("no memory")

    hook = judge.network.register_forward_pre_hook(no_memory)
    assert [str(error) for error in asked_together(judge, ["네", "좋아요"])] == ["no memory"] * 2
    hook.remove()
    assert [len(found) for found in asked_together(judge, ["네", "좋아요"])] == [1, 1]

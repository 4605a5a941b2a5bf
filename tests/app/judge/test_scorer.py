"""The judge as a scorer in a real evaluation of MLflow."""

import mlflow
import pytest

from contrastive_app.python import load, scorers
from support.judges import CRITERIA, export

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("judge"),
    pytest.mark.filterwarnings("ignore:Starting with pandas"),  # MLflow's digest of the data
]


def test_an_evaluation_asks_the_judge_about_each_response(trained, monkeypatch):
    """Feedback is what the judge says, with its neighbours as reasons; an empty response is an error of its row."""
    store = f"sqlite:///{trained.folder}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "answers")
    rows = trained.rows("test")[:2]
    data = [{"inputs": {"context": row["context"]}, "outputs": row["response"]} for row in rows]
    found = mlflow.genai.evaluate(
        data=[*data, {"inputs": {"question": "안녕?"}, "outputs": ""}],
        scorers=scorers("models:/judge@champion"),
    )
    said = load(trained.output)(rows, neighbours=3)
    traces = {trace.data.spans[0].outputs: trace for trace in mlflow.search_traces(return_type="list")}
    assert len(traces) == 3
    for number, row in enumerate(rows):
        feedback = {each.name: each for each in traces[row["response"]].info.assessments}
        assert feedback.keys() == set(trained.criteria)
        for criterion, given in feedback.items():
            assert given.value == ("yes" if said[f"decision/{criterion}"][number] else "no")
            probability = float(given.metadata["probability"])
            assert probability == pytest.approx(said[f"probability/{criterion}"][number], abs=1e-5)
            assert (probability > float(given.metadata["threshold"])) == (given.value == "yes")
            assert given.source.source_id == "models:/judge@champion"
            assert given.rationale.startswith("The nearest judged responses:\n- ")
            for neighbour in said[f"neighbours/{criterion}"][number]:
                assert neighbour["response"] in given.rationale
    (error,) = traces[""].info.assessments
    assert error.error.error_message == "response must not be empty, got ''"
    yes = said[f"decision/{trained.criteria[0]}"].mean()
    assert found.metrics[f"{trained.criteria[0]}/mean"] == pytest.approx(yes)


def test_a_judge_without_neighbours_gives_no_reasons(tmp_path):
    export(tmp_path / "judge")
    (scorer,) = scorers(tmp_path / "judge")
    given = scorer(inputs="오늘 날씨 어때요", outputs="맑아요")
    assert [(each.name, each.rationale) for each in given] == [(criterion, None) for criterion in CRITERIA]

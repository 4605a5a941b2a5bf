"""A judge as a scorer of MLflow, which `mlflow.genai.evaluate` asks about each response of a chatbot."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from contrastive_learning.data.traces import texts_of

if TYPE_CHECKING:
    from mlflow.genai.scorers import Scorer

    from contrastive_learning.serving import SavedJudge

NAME = "contrastive_judge"
MOST_REASONS = 3


def scorer_of(judge: "SavedJudge", which: str) -> "Scorer":
    """See `contrastive_app.python.scorers`. which: the judge's address, for the record."""
    from mlflow.entities import AssessmentSource, Feedback
    from mlflow.genai.scorers import scorer

    source = AssessmentSource(source_type="CODE", source_id=which)
    num_reasons = min(MOST_REASONS, judge.num_neighbours)

    def judged(inputs: Any, outputs: Any) -> list[Feedback]:
        texts = texts_of(inputs, outputs)
        response = {"context": list(texts.context), "response": texts.response}
        (said,) = judge([response], neighbours=num_reasons).to_dict("records")
        return [
            Feedback(
                name=criterion,
                value="yes" if said[f"decision/{criterion}"] else "no",
                source=source,
                metadata={"probability": f"{said[f'probability/{criterion}']:.6f}", "threshold": f"{threshold:.6f}"},
                rationale=_reasons(said[f"neighbours/{criterion}"]) if num_reasons else None,
            )
            for criterion, threshold in judge.thresholds.items()
        ]

    told = "yes or no per criterion, by a judge that was trained on people's votes"
    made: Scorer = scorer(judged, name=NAME, description=told)
    return made


def _reasons(neighbours: list[Mapping[str, Any]]) -> str:
    """The nearest judged responses, nearest first."""
    lines = (
        f"- {said['yes_votes']} of {said['num_votes']} said yes (similarity {said['similarity']:.2f}): "
        f"{' / '.join([*said['context'], said['response']])}"
        for said in neighbours
    )
    return "\n".join(["The nearest judged responses:", *lines])

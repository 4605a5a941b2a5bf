"""A judge in a folder, to be called from Python."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


class SavedJudge:
    """The judge that `export_judge` wrote to `folder`; it computes what the served one does.

    Raises ValueError if there is no judge in `folder`.

    >>> judge = SavedJudge("outputs/2026-11-26/15-21-37-448580/judge")  # doctest: +SKIP
    >>> judge(["바람이 불어 시원해요."])["decision/specificity"]  # doctest: +SKIP
    0    True
    """

    def __init__(self, folder: str | Path) -> None:
        from mlflow.pyfunc import PythonModelContext

        from contrastive_learning.serving.judge import Judge

        self.folder = Path(folder)
        if not (self.folder / "judge.json").is_file():
            raise ValueError(f"a folder with a judge must have judge.json, got {self.folder}")
        self._judge = Judge()
        self._judge.load_context(PythonModelContext(artifacts={"judge": str(self.folder)}, model_config=None))

    @property
    def criteria(self) -> list[str]:
        return list(self._judge.settings["criteria"])

    @property
    def thresholds(self) -> dict[str, float]:
        """Per criterion, the probability above which the decision is yes."""
        return dict(zip(self.criteria, self._judge.settings["thresholds"], strict=True))

    @property
    def num_neighbours(self) -> int:
        """How many training responses the judge can give as reasons at most; 0: it gives none."""
        return self._judge.by_vectors.k if self._judge.training_texts else 0

    def __call__(
        self, responses: "Sequence[str | Mapping[str, Any]] | pd.DataFrame", *, neighbours: int = 0
    ) -> "pd.DataFrame":
        """A table with a row per response: per criterion `probability/…` and `vote_share/…` in 0..1, `decision/…`.

        responses: texts, dicts with `response` and, if known, `context` (turns, oldest first, or one text), or a table
        with these columns. neighbours: so many nearest training responses as reasons, in `neighbours/…`.

        Raises ValueError if a response is empty or no text, or the judge has not so many neighbours.
        """
        import pandas as pd

        if isinstance(responses, str) or not isinstance(responses, Iterable):
            raise ValueError(f'responses must be a list of texts such as ["바다요."], got {responses!r}')
        if isinstance(responses, pd.DataFrame):
            rows = responses
        else:
            rows = pd.DataFrame([each if isinstance(each, Mapping) else {"response": each} for each in responses])
        if "response" not in rows:
            raise ValueError("responses must be texts, or have a response each")
        return self._judge.predict(None, rows, {"neighbours": neighbours})

    def per_criterion(self, responses: "Sequence[str | Mapping[str, Any]] | pd.DataFrame") -> "pd.DataFrame":
        """The same to be read: a row per response and criterion, with the threshold that made the decision.

        responses, errors: as for a call.

        >>> judge.per_criterion(["바람이 불어 시원해요."])  # doctest: +SKIP
                                probability  threshold  decision  vote_share
        response criterion
        0        consistency          0.845      0.871     False        0.79
                 specificity          0.913      0.744      True        0.88
        """
        import pandas as pd

        judged, thresholds = self(responses), self.thresholds
        parts = [
            pd.DataFrame(
                {
                    "probability": judged[f"probability/{criterion}"],
                    "threshold": thresholds[criterion],
                    "decision": judged[f"decision/{criterion}"],
                    "vote_share": judged[f"vote_share/{criterion}"],
                }
            )
            for criterion in self.criteria
        ]
        whole = pd.concat(parts, keys=self.criteria, names=["criterion", "response"])
        return whole.swaplevel().loc[list(judged.index)]

    def save(self, folder: str | Path) -> None:
        """Copy the judge to a new folder, which `SavedJudge` reads. Raises ValueError if `folder` exists."""
        try:
            shutil.copytree(self.folder, folder)
        except FileExistsError:
            raise ValueError(f"{folder} exists already: remove it, or choose another folder") from None

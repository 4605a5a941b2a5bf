"""A trained judge as a folder of files that loads and serves without this package.

In: a trained model, its tokenizer, its evaluation on the validation split. Out: the folder of `export_judge`, and
`JUDGE_CODE`, the one file that MLflow copies next to it. `huggingface.py` writes what is in that folder as one of
sentence-transformers, `compiled.py` for another runtime, which `runtimes.py` calls; `SavedJudge` calls it from Python.
judge.py and runtimes.py import nothing of this package; export.py imports `judging`, `model` and `metrics.evaluation`.
Tracking (for `JUDGE_CODE`, `WEIGHTS`) and the application may import this.
"""

from contrastive_learning.serving.export import (
    JUDGE_CODE,
    WEIGHTS,
    check_servable,
    export_judge,
    extra_packages,
    judge_weights,
)
from contrastive_learning.serving.saved import SavedJudge

__all__ = ["JUDGE_CODE", "WEIGHTS", "SavedJudge", "check_servable", "export_judge", "extra_packages", "judge_weights"]

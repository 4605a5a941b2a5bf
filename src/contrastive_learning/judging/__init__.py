"""What gives the probabilities once a model is trained: its classification head, or that mixed with judged responses.

In: vectors (features or embeddings) and votes of the training responses, the head's probabilities on valid. Out:
probabilities, the weight of the mix per criterion, the neighbours as reasons. `by_vectors.py` and `mixing.py` are
functions of arrays; `judges.py` is what the `judge` configs build. Imports metrics and projections; training, serving
and the application may import it. by_vectors.py imports nothing of this package: an exported judge has a copy of it.
"""

from contrastive_learning.judging.by_vectors import Neighbours, Prototypes, Reasons
from contrastive_learning.judging.judges import Judge, LinearJudge, MixedJudge, NeighboursJudge, PrototypesJudge
from contrastive_learning.judging.mixing import choose_weights, mix

__all__ = [
    "Judge",
    "LinearJudge",
    "MixedJudge",
    "Neighbours",
    "NeighboursJudge",
    "Prototypes",
    "PrototypesJudge",
    "Reasons",
    "choose_weights",
    "mix",
]

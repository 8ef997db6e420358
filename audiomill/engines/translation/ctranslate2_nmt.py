"""NLLB and M2M-100 on CTranslate2 as an engine: sentences to tokens, batches of them, tokens to sentences.

Weights are a folder of the model store: CTranslate2's files, and the tokenizer as tokenizer.json. NLLB's licence
forbids commercial use, which its entry must say; M2M-100's (MIT) does not.
"""

from collections.abc import Sequence
from importlib.metadata import version as package_version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiomill.catalogue.stages import ResourceClass
from audiomill.engines.cores import CoreBudget
from audiomill.engines.device import check_device
from audiomill.engines.model_store import ModelStore, missing
from audiomill.engines.of_one_model import OfOneModel
from audiomill.engines.protocol import Availability, EngineIdentity, Progress, Usage
from audiomill.engines.translation.protocol import (
    LackingPair,
    Pair,
    Sentence,
    TranslationOrder,
    not_supported,
    served,
)
from audiomill.errors import AudiomillError, BadInput, EngineFailed, EngineUnavailable
from audiomill.transcripts.plain import plain

if TYPE_CHECKING:
    import ctranslate2

NAME = "ctranslate2-nmt"
DEFAULT_MODEL = "nllb-200-distilled-600M"
_BATCH_TOKENS = 2048
_MOST_TOKENS = 512  # what both were trained on
_BEAM = 4

# FLORES-200's names of NLLB for BCP 47 tags; M2M-100 has the tags themselves, as `__en__`.
_FLORES = {
    "ar": "arb_Arab", "ca": "cat_Latn", "cs": "ces_Latn", "da": "dan_Latn", "de": "deu_Latn", "el": "ell_Grek",
    "en": "eng_Latn", "es": "spa_Latn", "fa": "pes_Arab", "fi": "fin_Latn", "fr": "fra_Latn", "he": "heb_Hebr",
    "hi": "hin_Deva", "hu": "hun_Latn", "id": "ind_Latn", "it": "ita_Latn", "ja": "jpn_Jpan", "ko": "kor_Hang",
    "ms": "zsm_Latn", "nb": "nob_Latn", "nl": "nld_Latn", "pl": "pol_Latn", "pt": "por_Latn", "ro": "ron_Latn",
    "ru": "rus_Cyrl", "sv": "swe_Latn", "sw": "swh_Latn", "ta": "tam_Taml", "th": "tha_Thai", "tl": "tgl_Latn",
    "tr": "tur_Latn", "uk": "ukr_Cyrl", "ur": "urd_Arab", "vi": "vie_Latn", "zh": "zho_Hans",
}  # fmt: skip


class CTranslate2Translator(OfOneModel):
    """A many-to-many model on the CPU (int8) or a GPU (float16)."""

    def __init__(self, *, model_store: Path, budget: CoreBudget) -> None:
        self._store = ModelStore(model_store)
        self._budget = budget
        self._translator: ctranslate2.Translator | None = None
        self._tokenizer: Any = None
        self._names: dict[str, str] = {}
        self._on_gpu = False

    def availability(self) -> list[Availability]:
        """A row for each model that is installed, or for the default one that is not."""
        lacks = next((f"the package {one}" for one in ("ctranslate2", "tokenizers") if find_spec(one) is None), None)
        models = [model.model for model in self._store.installed() if model.engine == NAME]
        if lacks is None and models:
            return [Availability(model, "cpu", True, None, tuple(sorted(_FLORES))) for model in models]
        return [Availability(DEFAULT_MODEL, "cpu", False, lacks or missing(NAME, DEFAULT_MODEL), None)]

    def pairs(self) -> tuple[Pair, ...]:
        """All of the loaded model's; none before."""
        return tuple(Pair(one, other) for one in self._names for other in self._names if one != other)

    def lacking(self) -> tuple[LackingPair, ...]:
        """None beyond the model itself."""
        return ()

    def load(self, model: str | None, resource_class: ResourceClass) -> None:
        """Load a model from the store. Raises EngineUnavailable."""
        name = model or DEFAULT_MODEL
        installed = self._store.verified(NAME, name)
        folder = self._store.path(NAME, name)
        import ctranslate2
        from tokenizers import Tokenizer  # noqa: PLC0415 - as heavy as what it serves

        self._on_gpu = resource_class == "gpu"
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._translator = ctranslate2.Translator(
                str(folder),
                device="cuda" if self._on_gpu else "cpu",
                compute_type="float16" if self._on_gpu else "int8",
                intra_threads=self._budget.cores,
            )
        except Exception as error:  # tokenizers raises Exception itself
            raise EngineUnavailable(f"{NAME} cannot load the weights of {name!r}.") from error
        self._names = {
            tag: token
            for tag, flores in _FLORES.items()
            for token in (flores, f"__{tag}__")
            if self._tokenizer.token_to_id(token) is not None
        }
        self._identity = EngineIdentity(
            NAME, package_version("ctranslate2"), name, installed.sha256, languages=tuple(sorted(self._names))
        )

    @property
    def usage(self) -> Usage:
        """Many sentences a call; one call uses the whole GPU, or all cores."""
        return Usage(group_items=256, group_seconds=600, parallel_calls=1)

    def close(self) -> None:
        """Free the model."""
        self._translator = self._tokenizer = self._identity = None
        self._names = {}

    def translate(
        self, sentences: Sequence[Sentence], order: TranslationOrder, progress: Progress | None = None
    ) -> list[str | AudiomillError]:
        """Translate; the context is not used. An item's error: BadInput (`sentence_too_long`).

        Raises BadInput (`pair_not_supported`, `glossary_not_supported`), EngineFailed, OperatorError
        (`device_failed`).
        """
        if self._translator is None:
            raise RuntimeError("load a model first")
        pair = served(order.pair, self.pairs())
        if pair is None:
            raise not_supported(NAME, order.pair, self.pairs())
        if order.glossary:
            raise BadInput(
                f"{NAME} cannot keep to a glossary. Leave it out, or choose apertium.", code="glossary_not_supported"
            )
        results: list[str | AudiomillError] = ["" for _ in sentences]
        tokens: dict[int, list[str]] = {}
        for index, text in enumerate(plain(sentence.text) for sentence in sentences):
            found = self._tokenizer.encode(text, add_special_tokens=False).tokens if text else []
            if len(found) > _MOST_TOKENS:
                results[index] = BadInput(
                    f"A sentence has {len(found):,} pieces; {NAME} takes {_MOST_TOKENS}. Split it.",
                    code="sentence_too_long",
                )
            elif found:
                tokens[index] = [self._names[pair.source], *found, "</s>"]
        for index, text in zip(tokens, self._decoded(list(tokens.values()), self._names[pair.target]), strict=True):
            results[index] = text
        for index in range(len(results)):
            if progress is not None:
                progress(index, 1.0)
        return results

    def _decoded(self, batch: list[list[str]], target: str) -> list[str]:
        if not batch or self._translator is None:
            return []
        try:
            with self._budget.take(1 if self._on_gpu else self._budget.cores):
                found = self._translator.translate_batch(
                    batch, target_prefix=[[target] for _ in batch], batch_type="tokens", max_batch_size=_BATCH_TOKENS,
                    beam_size=_BEAM, max_decoding_length=_MOST_TOKENS,
                )  # fmt: skip
        except (RuntimeError, ValueError) as error:  # all that CTranslate2 raises
            check_device(NAME, error)
            raise EngineFailed(f"{NAME} could not translate: {type(error).__name__}.") from error
        texts = []
        for one in found:
            words = [token for token in one.hypotheses[0] if token not in {target, "</s>"}]
            numbers = [number for word in words if (number := self._tokenizer.token_to_id(word)) is not None]
            texts.append(plain(self._tokenizer.decode(numbers)))
        return texts

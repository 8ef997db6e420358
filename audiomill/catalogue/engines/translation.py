"""The engines of translation, best first."""

from audiomill.catalogue.engines.entry import EngineEntry

TRANSLATION: tuple[EngineEntry, ...] = (
    EngineEntry(
        "ctranslate2-nmt",
        "translation",
        "audiomill.engines.translation.ctranslate2_nmt:CTranslate2Translator",
        ("gpu", "cpu"),
        "CC-BY-NC-4.0",
        "NLLB and M2M-100 on CTranslate2: between 35 languages",
        {"gpu": "nllb-200-distilled-600M", "cpu": "nllb-200-distilled-600M"},
        commercial_use=False,
    ),
    EngineEntry(
        "apertium",
        "translation",
        "audiomill.engines.translation.apertium:Apertium",
        ("cpu",),
        "GPL-3.0-or-later",
        "Rules and dictionaries of the pairs that are installed: readable, with many errors",
        features=("glossary",),
    ),
)

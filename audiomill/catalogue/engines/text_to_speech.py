"""The engines of text to speech, best first."""

from audiomill.catalogue.engines.entry import EngineEntry

TEXT_TO_SPEECH: tuple[EngineEntry, ...] = (
    EngineEntry(
        "espeak-ng",
        "text_to_speech",
        "audiomill.engines.text_to_speech.espeak:Espeak",
        ("cpu",),
        "GPL-3.0-or-later",
        "Embedded formant synthesis: over 100 languages and accents, robotic",
    ),
)

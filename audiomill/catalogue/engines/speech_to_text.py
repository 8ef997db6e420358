"""The engines of speech to text, best first."""

from audiomill.catalogue.engines.entry import EngineEntry

SPEECH_TO_TEXT: tuple[EngineEntry, ...] = (
    EngineEntry(
        "faster-whisper",
        "speech_to_text",
        "audiomill.engines.speech_to_text.faster_whisper:FasterWhisper",
        ("gpu", "cpu"),
        "MIT",
        "Whisper on CTranslate2: 99 languages, translation to English",
        {"gpu": "large-v3-turbo", "cpu": "small"},
        ("translation",),
    ),
    EngineEntry(
        "pocketsphinx",
        "speech_to_text",
        "audiomill.engines.speech_to_text.pocketsphinx:Pocketsphinx",
        ("cpu",),
        "BSD-2-Clause",
        "Embedded US English recogniser: runs anywhere, many errors",
    ),
)

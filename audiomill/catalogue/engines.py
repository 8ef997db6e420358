"""The engines by name: what each does, where its code is, what it needs. Data only; the code is in audiomill/engines.

The order of ENGINES within a task is the order of preference of `auto`, best first.
"""

from dataclasses import dataclass, field
from importlib import import_module

from audiomill.catalogue.stages import ResourceClass, Task
from audiomill.errors import ConfigurationError


@dataclass(frozen=True)
class EngineEntry:
    """One engine.

    implementation: import path `module:Class`, loaded by audiomill.engines.registry only.
    resource_classes: where it can run, best first.
    default_models: the model that `auto` and `model=None` mean, by resource class; None: the engine has no choice.
    """

    name: str
    task: Task
    implementation: str
    resource_classes: tuple[ResourceClass, ...]
    licence: str
    summary: str
    default_models: dict[ResourceClass, str] = field(default_factory=dict)


ENGINES: tuple[EngineEntry, ...] = (
    EngineEntry(
        "faster-whisper",
        "speech_to_text",
        "audiomill.engines.faster_whisper:FasterWhisper",
        ("gpu", "cpu"),
        "MIT",
        "Whisper on CTranslate2: 99 languages, translation to English",
        {"gpu": "large-v3-turbo", "cpu": "small"},
    ),
    EngineEntry(
        "pocketsphinx",
        "speech_to_text",
        "audiomill.engines.pocketsphinx:Pocketsphinx",
        ("cpu",),
        "BSD-2-Clause",
        "Embedded US English recogniser: runs anywhere, many errors",
    ),
    EngineEntry(
        "espeak-ng",
        "text_to_speech",
        "audiomill.engines.espeak:Espeak",
        ("cpu",),
        "GPL-3.0-or-later",
        "Embedded formant synthesis: over 100 languages and accents, robotic",
    ),
)


def entries(extra: list[str] | None = None) -> tuple[EngineEntry, ...]:
    """The catalogue with an installation's own entries (`module:ENTRY`) in front. Raises ConfigurationError."""
    own: list[EngineEntry] = []
    for path in extra or []:
        module, _, name = path.partition(":")
        try:
            entry = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ConfigurationError(f"The engine entry {path!r} cannot be imported: {error}.") from error
        if not isinstance(entry, EngineEntry):
            raise ConfigurationError(f"The engine entry {path!r} is not an EngineEntry.")
        own.append(entry)
    return (*own, *ENGINES)

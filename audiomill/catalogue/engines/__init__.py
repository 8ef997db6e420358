"""The engines by name: what each does, where its code is, what it needs. Data only: the code is in audiomill/engines,
and nothing here imports it, for the API and the orders read this.

The order within a task is the order of preference of `auto`, best first. An installation's own entries come in front of
them; only workers import those (audiomill/engines/registry.py).
"""

from audiomill.catalogue.engines.entry import AvailabilityReport, EngineEntry
from audiomill.catalogue.engines.separation import SEPARATION
from audiomill.catalogue.engines.speech_to_text import SPEECH_TO_TEXT
from audiomill.catalogue.engines.text_to_speech import TEXT_TO_SPEECH
from audiomill.catalogue.engines.translation import TRANSLATION

ENGINES: tuple[EngineEntry, ...] = (*SPEECH_TO_TEXT, *TEXT_TO_SPEECH, *SEPARATION, *TRANSLATION)

__all__ = ["ENGINES", "AvailabilityReport", "EngineEntry"]

"""Which of an engine's voices speaks which line: as ordered, else by the pitch of the speaker. What voices an engine
has is the engine's."""

from collections.abc import Mapping

from audiomill.engines.text_to_speech.protocol import SpeakersVoice, TextToSpeech
from audiomill.lines.document import Lines

EVERYONE = "*"
"""In an order's voices: whoever is not named there."""


def with_voices(lines: Lines, ordered: Mapping[str, str], engine: TextToSpeech) -> Lines:
    """The lines, each with its voice; a line that has one keeps it."""
    pitches = {line.speaker or "": line.speaker_hz for line in lines.lines}
    found = engine.voices_by_pitch(lines.target_language, pitches)
    told = []
    for line in lines.lines:
        speaker = line.speaker or ""
        named = line.voice or ordered.get(speaker) or ordered.get(EVERYONE)
        chosen = SpeakersVoice(named) if named is not None else found[speaker]
        pitch = chosen.pitch if line.voice_pitch is None else line.voice_pitch
        told.append(line.model_copy(update={"voice": chosen.name, "voice_pitch": pitch}))
    return lines.model_copy(update={"lines": tuple(told)})

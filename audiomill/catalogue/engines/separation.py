"""The engines of separation, best first."""

from audiomill.catalogue.engines.entry import EngineEntry

SEPARATION: tuple[EngineEntry, ...] = (
    EngineEntry(
        "demucs",
        "separation",
        "audiomill.engines.separation.demucs:Demucs",
        ("gpu", "cpu"),
        "MIT",
        "Hybrid transformer Demucs: the voice apart from music and noise",
        {"gpu": "htdemucs", "cpu": "htdemucs"},
    ),
    EngineEntry(
        "rnnoise",
        "separation",
        "audiomill.engines.separation.rnnoise:RNNoise",
        ("cpu",),
        "Apache-2.0",
        "Embedded recurrent network for noise, basic: music with a beat, and a crowd, stay partly in the voice",
    ),
)

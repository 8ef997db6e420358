"""Artifacts: what one job recorded is not overwritten by another that makes the same thing at the same time."""

import hashlib

import pytest
from sqlalchemy import select

from audiomill.audio import Audio
from audiomill.database.connection import Database
from audiomill.database.tables import Artifact
from audiomill.storage import ObjectStore
from audiomill.transcripts import Segment, Transcript
from ops.work import Bench
from tests.fakes.recordings import pcm16, tone, wav
from tests.fakes.scripted_engine import Scripted
from tests.pipeline.conftest import Materialise, Order, states


def test_two_jobs_that_hear_the_same_sound_otherwise(
    database: Database, store: ObjectStore, order: Order, materialise: Materialise, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = iter(["hello there", "hello their"])

    def one(_: Scripted, audio: Audio, _script: str) -> Transcript:
        return Transcript((Segment(next(heard), 0.0, audio.seconds, ()),), "en", None, audio.seconds)

    monkeypatch.setattr(Scripted, "_one", one)
    # As if neither had ended when the other looked.
    monkeypatch.setattr(Bench, "known", lambda *_: None)
    batch_id, jobs = order.batch("say:a", "say:a", data=wav(pcm16(tone(1.0))))
    assert materialise(batch_id).success
    assert states(database, jobs) == ["complete", "complete"]
    with database.session() as session:
        (artifact,) = session.scalars(select(Artifact)).all()
    assert hashlib.sha256(store.get_bytes(artifact.object_key)).hexdigest() == artifact.sha256

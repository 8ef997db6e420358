"""Files made to take memory, time and disk, in one batch with ten good ones."""

import threading

import psutil
import pytest

from audiomill.jobs.batches.forming import form_batches
from audiomill.jobs.queries import get_job
from tests.fakes import hostile
from tests.fakes.recordings import mp3, pcm16, tone, wav

pytestmark = pytest.mark.slow

MOST_BYTES = 2 * 1024**3
COVER = (16_000, 16_000)


class Watch(threading.Thread):
    """Samples the memory of this process and all below it: what they hold together, shared pages once."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most = 0
        self._ended = threading.Event()

    def run(self):
        while not self._ended.wait(0.05):
            held = 0
            for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
                try:
                    held += process.memory_full_info().pss
                except (psutil.NoSuchProcess, psutil.AccessDenied):
                    continue
            self.most = max(self.most, held)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self.join()


def test_the_good_ones_complete_and_the_machine_stays_whole(order, materialise, database, settings, tmp_path):
    cover = hostile.png(*COVER)
    refused = {
        "needs_too_much_memory": hostile.m4a_of_samples_that_are_not_there(tmp_path, tracks=4),
        "too_many_chunks": hostile.wav_of_empty_chunks(1_000_000),
        "implausible_length": hostile.flac_of_silence(35_000),
    }
    covered = [hostile.flac_with_cover(tmp_path, cover), hostile.mkv_with_covers(cover, 5)]
    good = [wav(pcm16(tone(2.0, hz=200 + 50 * number))) for number in range(9)] + [mp3()]
    ids = {}
    for code, data in refused.items():
        (ids[code],) = order("", data=data)
    fine = [job for data in (*covered, *good) for job in order("", data=data)]
    with database.session() as session:
        (batch_id,) = form_batches(session, settings)
    with Watch() as watch:
        assert materialise(batch_id).success
    with database.session() as session:
        assert [get_job(session, None, job).state for job in fine] == ["complete"] * 12
        failed = {code: get_job(session, None, job) for code, job in ids.items()}
    assert {code: (job.state, job.failure_code) for code, job in failed.items()} == {
        code: ("failed", code) for code in refused
    }
    assert 0 < watch.most < MOST_BYTES

"""The benchmark's arithmetic and its corpus: what must be right before a figure is believed."""

from itertools import islice

import pytest

from benchmarks.corpus import CLIP_SECONDS, clips, texts
from benchmarks.figures import latency_figures, overhead_ms_per_file, percent_of_machine, steps_between


def test_overhead_is_what_the_platform_takes_beyond_the_engine() -> None:
    assert overhead_ms_per_file(120.0, 70.0, 1000) == pytest.approx(50.0)
    assert overhead_ms_per_file(60.0, 70.0, 1000) == pytest.approx(-10.0)


def test_percent_is_of_all_cores() -> None:
    assert percent_of_machine(cpu_seconds=6.0, window_seconds=60.0, cores=2) == pytest.approx(5.0)


def test_steps_add_up_and_disorder_is_seen() -> None:
    steps = steps_between([("posted", 10.0), ("formed", 13.0), ("begun", 12.5), ("complete", 20.0)])
    assert steps == {"formed": 3.0, "begun": -0.5, "complete": 7.5}


def test_latency_names_the_worst_beside_the_median() -> None:
    figures = latency_figures([{"a": 1.0, "b": 2.0}, {"a": 2.0, "b": 7.0}, {"a": 1.5, "b": 2.5}])
    assert (figures.median, figures.worst, list(figures.all)) == (4.0, 9.0, [3.0, 9.0, 4.0])
    assert figures.steps == {"a": 1.5, "b": 2.5}


def test_no_two_inputs_are_alike_and_every_run_has_the_same() -> None:
    first = list(clips(30))
    assert len(set(first)) == 30
    assert first == list(clips(30))
    spoken = list(islice(texts(1000), 1000))
    assert len(set(spoken)) == 1000


def test_clips_have_the_length_that_they_say() -> None:
    (clip,) = clips(1)
    header = 44
    assert (len(clip) - header) / 2 / 22_050 == pytest.approx(CLIP_SECONDS, abs=0.01)

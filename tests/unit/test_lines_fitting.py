"""Fitting lines: never overlapping, never cut off, in order, within the rates, no drift where it fits."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from audiomill.lines import FASTEST, SLOWEST, Window, fitted
from audiomill.lines.fitting import BREATH_MS, length_ms


@st.composite
def windows(draw):
    """Lines as they come: touching, overlapping, far apart, too long, empty."""
    start, found = draw(st.integers(0, 2000)), []
    for _ in range(draw(st.integers(1, 12))):
        length, spoken = draw(st.integers(0, 6000)), draw(st.integers(0, 9000))
        found.append(Window(start, start + length, spoken))
        start += draw(st.integers(0, length + 3000))
    return found


def end_of(lines):
    return max(line.end_ms for line in lines)


@given(windows(), st.integers(0, 5000))
def test_lines_keep_their_order_and_never_overlap(lines, after):
    placed = fitted(lines, duration_ms=end_of(lines) + after)
    assert len(placed) == len(lines)
    for one, following in pairwise(placed):
        assert one.start_ms <= one.end_ms <= following.start_ms


@given(windows(), st.integers(0, 5000))
def test_nothing_is_cut_off_and_the_rate_is_in_bounds(lines, after):
    for line, fit in zip(lines, fitted(lines, duration_ms=end_of(lines) + after), strict=True):
        assert SLOWEST <= fit.rate <= FASTEST
        assert (fit.end_ms - fit.start_ms) * fit.rate >= line.spoken_ms - 1e-6
        assert fit.end_ms - fit.start_ms == length_ms(line.spoken_ms, fit.rate)


@given(windows(), st.integers(0, 5000))
def test_drift_is_what_lies_outside_and_zero_where_all_fits(lines, after):
    placed = fitted(lines, duration_ms=end_of(lines) + after)
    for line, fit in zip(lines, placed, strict=True):
        outside = max(line.start_ms - fit.start_ms, fit.start_ms - line.start_ms, fit.end_ms - line.end_ms, 0)
        assert fit.drift_ms == outside
        assert (fit.how == "own") <= (fit.start_ms == line.start_ms and fit.end_ms <= line.end_ms)
    starts = [line.start_ms for line in lines[1:]] + [end_of(lines)]
    rooms = [min(line.end_ms, to) - line.start_ms for line, to in zip(lines, starts, strict=True)]
    if all(length_ms(line.spoken_ms, FASTEST) <= room for line, room in zip(lines, rooms, strict=True)):
        assert [fit.drift_ms for fit in placed] == [0] * len(placed)
        assert {fit.how for fit in placed} == {"own"}


@given(windows(), st.data())
def test_a_line_that_takes_longer_never_ends_earlier_nor_lets_the_next_begin_earlier(lines, data):
    at = data.draw(st.integers(0, len(lines) - 1))
    longer = list(lines)
    longer[at] = Window(lines[at].start_ms, lines[at].end_ms, lines[at].spoken_ms + data.draw(st.integers(1, 4000)))
    before, after = fitted(lines, duration_ms=end_of(lines)), fitted(longer, duration_ms=end_of(lines))
    assert after[:at] == before[:at]
    assert after[at].end_ms >= before[at].end_ms
    assert after[at].drift_ms >= before[at].drift_ms
    assert after[at].rate >= before[at].rate


def test_first_the_rate_then_silence_after_then_before_then_late():
    def second(spoken, *, start=4000, until=6000, following=7000):
        lines = [Window(0, 2000, 2000), Window(start, until, spoken), Window(following, following + 3000, 3000)]
        return fitted(lines, duration_ms=10_000)

    assert (second(2000)[1].rate, second(2000)[1].how) == (1.0, "own")
    assert second(1800)[1].end_ms == 6000  # slowed a little, to the end
    assert second(500)[1].rate == SLOWEST
    assert (second(2400)[1].rate, second(2400)[1].drift_ms) == (1.2, 0)
    after = second(3500)[1]
    assert (after.start_ms, after.end_ms, after.rate, after.how) == (4000, 6800, FASTEST, "after")
    before = second(4500)[1]
    assert (before.end_ms, before.how) == (7000 - BREATH_MS, "before")
    assert before.start_ms == before.end_ms - 3600
    late = second(7500)
    assert (late[1].start_ms, late[1].how) == (2000 + BREATH_MS, "late")
    assert late[2].start_ms == late[1].end_ms > 7000
    assert late[2].end_ms == 8080 + 2400  # what is late hurries as far as it may


def test_a_last_line_may_end_after_the_source_but_is_whole():
    (fit,) = fitted([Window(500, 1000, 4000)], duration_ms=1000)
    assert (fit.start_ms, fit.end_ms, fit.how) == (0, 3200, "late")

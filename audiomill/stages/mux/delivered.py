"""The files of a dub: the film with its new sound and both subtitle tracks, or the sound alone; subtitles; lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audiomill.audio import Audio, SoundFormat, encode_file
from audiomill.audio.remux import SubtitleTrack, remux, tracks
from audiomill.lines.document import Lines
from audiomill.lines.languages import UNKNOWN, three_letters
from audiomill.quality import Check
from audiomill.settings import LimitSettings
from audiomill.transcripts import Transcript
from audiomill.transcripts.cues import cues
from audiomill.transcripts.formats import render

_TITLE = "Dub"


@dataclass(frozen=True)
class Delivered:
    """The files by name, and what the receipt says of them."""

    files: dict[str, Path]
    checks: tuple[Check, ...]


def delivered(
    source: Path,
    dub: Audio,
    lines: Lines,
    folder: Path,
    *,
    track: int | None,
    formats: Sequence[SoundFormat],
    limits: LimitSettings,
) -> Delivered:
    """Write them all to a folder. track: the source's sound track that the dub replaces; None: the one players play.

    A source without a picture gives `dub.<format>`; with one, `dub.<its container>`. Subtitles of a language in which
    nothing is known to be said are left out. Raises BadInput, LimitExceeded.
    """
    files: dict[str, Path] = {}
    checks: list[Check] = []
    texts = [(which, transcript) for which in ("source", "target") if (transcript := _told(lines, which)).segments]
    found = tracks(source, limits=limits)
    if found.has_picture:
        container = found.container or "film"
        path = folder / f"dub.{container}"
        done = remux(
            source,
            dub,
            path,
            container=container,
            replaced=_replaced(track, len(found.sound)),
            language=three_letters(lines.target_language),
            title=_TITLE,
            subtitles=[_track(transcript) for _, transcript in texts],
            limits=limits,
        )
        files[path.name] = path
        said = f"The film held {', '.join(done.left_out)} that its kind of file cannot take over; left out."
        checks.append(
            Check("left_out_of_film", not done.left_out, len(done.left_out), 0, said if done.left_out else None)
        )
    else:
        for form in dict.fromkeys(formats):
            path = folder / f"dub.{form}"
            encode_file(dub, form, path)
            files[path.name] = path
    for which, transcript in texts:
        path = folder / f"{which}.srt"
        path.write_bytes(render(transcript, "srt"))
        files[path.name] = path
    path = folder / "lines.json"
    path.write_bytes(lines.to_json())
    files[path.name] = path
    return Delivered(files, tuple(checks))


def _replaced(track: int | None, count: int) -> int | None:
    return track if track is not None and count else None


def _told(lines: Lines, which: str) -> Transcript:
    transcript = lines.transcript("source" if which == "source" else "target")
    spoken = tuple(segment for segment in transcript.segments if segment.text.strip())
    return Transcript(spoken, transcript.language, None, transcript.duration_seconds)


def _track(transcript: Transcript) -> SubtitleTrack:
    language = three_letters(transcript.language)
    shown = tuple((cue.start_ms, cue.end_ms, "\n".join(cue.lines)) for cue in cues(transcript))
    return SubtitleTrack(language, "" if language == UNKNOWN else transcript.language, shown)

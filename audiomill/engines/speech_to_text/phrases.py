"""Words into phrases, for recognisers that give words only. Layout of subtitles is not here."""

from collections.abc import Iterator, Sequence

from audiomill.transcripts import Word

PAUSE_SECONDS = 0.5
"""A gap between words that ends a phrase: our choice, within what Campione and Véronis (2002, A large-scale
multilingual study of silent pause duration) call a medium pause, 0.2 to 1 s."""

LONGEST_SECONDS = 7.0
"""A phrase is not longer: what subtitle guides allow on the screen at once (Netflix timed text style guide: 7 s)."""


def phrases(
    words: Sequence[Word], pause_seconds: float = PAUSE_SECONDS, longest_seconds: float = LONGEST_SECONDS
) -> Iterator[list[Word]]:
    """The words in phrases: a phrase ends at a pause, or before the word that would make it too long."""
    phrase: list[Word] = []
    for word in words:
        if phrase and (
            word.start_seconds - phrase[-1].end_seconds >= pause_seconds
            or word.end_seconds - phrase[0].start_seconds > longest_seconds
        ):
            yield phrase
            phrase = []
        phrase.append(word)
    if phrase:
        yield phrase

"""Lines of a dub: what is said by whom, in both languages, when it should be heard and when it is. Pure; no sound, no
engines, no database.

The document is `document`, fitting lines to their times `fitting`, subtitles that customers bring `subtitles`, who
speaks `speakers`.
"""

from audiomill.lines.document import Line, Lines
from audiomill.lines.fitting import FASTEST, SLOWEST, Fitted, Window, fitted
from audiomill.lines.subtitles import Imported, read_subtitles

__all__ = ["FASTEST", "SLOWEST", "Fitted", "Imported", "Line", "Lines", "Window", "fitted", "read_subtitles"]

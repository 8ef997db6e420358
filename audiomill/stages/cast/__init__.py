"""The stage `cast`: what was heard, or subtitles, in; the lines of a dub out, each with who speaks it."""

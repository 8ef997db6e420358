"""The stage `mux`: a dub back into its film, with subtitles in both languages, and the files that are delivered."""

"""The steps of a run: claim a batch, work it off (one file per stage), close it."""

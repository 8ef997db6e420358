"""The stage `synthesize`: texts in, speech out."""

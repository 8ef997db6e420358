"""The stage `speak`: lines in, each spoken by the voice of its speaker out."""

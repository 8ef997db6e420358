"""The stage `separate`: a recording in, its voice and what lies behind it out."""

"""Engines: what can run, and what the others lack."""

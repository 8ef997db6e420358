"""Engines of the task text to speech: the protocol, and a file per engine."""

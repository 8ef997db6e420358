"""Engines of the task speech to text: the protocol, and a file per engine."""

"""Translating sentences: the protocol, and an engine a file."""

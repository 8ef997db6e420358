"""Separating a voice from what lies behind it: the protocol, how long sound is cut and joined, and an engine a file."""

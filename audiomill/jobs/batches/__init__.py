"""Batches: formed from what waits, leased by runs, worked off, recovered, retired."""

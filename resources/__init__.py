"""Thin Dagster ConfigurableResources that return audiomill objects. No logic."""

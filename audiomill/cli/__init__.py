"""The audiomill command."""

"""Audiomill: batch audio processing. Imports neither Dagster nor a web framework.

The packages stand on a ladder without circles: docs/architecture.md shows it, pyproject.toml says it, `make check`
holds it.
"""

__version__ = "0.1.0"

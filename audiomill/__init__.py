"""Audiomill: batch audio processing. Imports neither Dagster nor a web framework.

The packages stand on a ladder (`make check` holds it): cli > jobs, quality > engines, accounts > receipts >
catalogue > audio > storage > database > settings, errors.
"""

__version__ = "0.1.0"

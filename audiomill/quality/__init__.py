"""The checks that every output passes before it may be delivered. Pure functions of sounds and texts."""

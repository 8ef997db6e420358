"""An installation's own engine that may not be imported: whoever does so breaks. For the API, which must not."""

raise AssertionError("an engine's module was imported outside of a worker")

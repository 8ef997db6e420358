"""The events of jobs: heard of, replayed, followed live. They are written by `transition` alone."""

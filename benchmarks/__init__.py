"""What is measured, by command: `python -m benchmarks.pipeline`. Nothing here is a test."""

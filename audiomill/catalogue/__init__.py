"""What can be ordered and by what it is done: pure data. No database, no files, no engines' code.

Adding a capability: a file (`transcribe.py` is one) and its place in the list of `capabilities.py`; for a new kind of
work one in `stages.py`. Adding an engine: an entry in `engines/<task>.py`.
"""

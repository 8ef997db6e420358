"""What can be ordered and by what it is done: pure data. No database, no files, no engines' code.

Adding a capability: a file (`transcribe.py` is one) and a line in `capabilities.py`; for a new kind of work a line in
`stages.py`. Adding an engine: an entry in `engines/<task>.py`.
"""

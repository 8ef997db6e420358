"""What can be ordered and by what it is done: pure data. No database, no files, no engines' code.

Adding an engine: one line in `engines.py`. Adding a capability: its parameters in `parameters.py`, a line in
`capabilities.py` and, for a new kind of work, one in `stages.py`.
"""

"""Everything that is written is deleted some day: a sweep for each kind, a file for each, all listed in schedule.py.

What belongs here: finding what nobody needs any more, proving it under a lock, deleting row and object, counting what
was freed. Not here: Dagster's own runs and partition keys (sensors/retirement.py), scratch of runs.
"""

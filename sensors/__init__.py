"""Everything that starts or mends runs: intake, batching, failure, reaping, retirement, schedules.

A tick is one short transaction of ours and little else: it is cheap at rest, bounded under load, and may be lost.
"""

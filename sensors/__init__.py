"""Everything that starts or mends runs: the inbox, batching, ended runs, reaping, the daily tables; and what is told at
intervals: what came in, what can run, what of Dagster's is retired, what of ours is deleted.

A tick is made of short transactions of ours: it is cheap at rest, bounded under load, and may be lost. One that waits
for work holds no transaction meanwhile.
"""

"""Everything that starts or mends runs: intake, batching, failure, reaping, retirement, schedules."""

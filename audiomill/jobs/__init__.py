"""Recordings, submissions, jobs, work items, batches, leases: the only code that changes their state."""

"""Recordings, submissions, jobs, work items, batches, leases: the only code that changes their state.

What is dropped into the store is found by audiomill/inbox, and ordered here (submission.py) like everything else.
"""

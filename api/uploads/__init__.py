"""Uploads: a signed URL to send a recording to."""

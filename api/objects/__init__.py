"""Objects: the signed URLs of the local store."""

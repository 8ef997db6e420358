"""Jobs: ordering, listing, following, fetching, cancelling."""

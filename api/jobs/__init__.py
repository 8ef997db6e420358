"""Jobs: ordering, listing, following, fetching, cancelling, editing their lines."""

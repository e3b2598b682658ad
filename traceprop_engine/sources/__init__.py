"""Source files as versions: what the bytes were, and where each record stands in them."""

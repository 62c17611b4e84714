"""The database of a study; `Store` is the only access to it."""

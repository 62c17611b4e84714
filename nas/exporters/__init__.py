"""One module a file format that a winner can leave in."""

"""Read-only queries about a study: fronts, summaries, and which choices matter."""

"""Read-only answers about a study: fronts, summaries, and which choices matter."""

"""What a study leaves behind, and the only door to the database that keeps it."""

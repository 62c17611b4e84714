"""What results look like: in the terminal for people, as one document for scripts."""

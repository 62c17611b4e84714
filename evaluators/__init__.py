"""What an architecture is worth: named scores with units."""

"""A folder that transformers loads, and the code that travels with it where it needs some."""

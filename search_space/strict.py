"""Untrusted data into a checked value, or one sentence that names the field and what is allowed."""

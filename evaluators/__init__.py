"""Evaluators: named scores with units for an architecture."""

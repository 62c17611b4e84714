"""Exports models and trials to other tools, one module per file format."""

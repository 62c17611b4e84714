"""Exports folders for transformers, with the model code that they need."""

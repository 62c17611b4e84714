"""Converts architectures and weights to and from transformers, exactly or not at all."""

"""Spaces of architectures: choices, rules, size matching and the encoding for samplers."""

"""Declare a study: the study file, its limits and its reference models."""

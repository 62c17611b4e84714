"""Declare a study: the study file, its budgets and its reference models."""

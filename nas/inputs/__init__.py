"""Resolve what a user typed on the command line to a study, a model or a model file."""

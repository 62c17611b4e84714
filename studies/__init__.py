"""Declare, run, remember and compare a study."""

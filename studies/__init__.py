"""Declare, run, store, analyse and confirm a study."""

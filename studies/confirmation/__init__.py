"""Confirm a front: retrain and remeasure it, and state what holds."""

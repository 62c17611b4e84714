"""Confirmation of a front: its candidates are retrained and remeasured with fresh seeds."""

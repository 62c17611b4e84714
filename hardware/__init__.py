"""Measure how long a model file takes on a device, and how much memory it needs."""

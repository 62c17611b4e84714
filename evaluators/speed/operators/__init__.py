"""The cost of each part of a model on a device, from the times of small whole models."""

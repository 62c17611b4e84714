"""Measuring on a device through a program that is sent there."""

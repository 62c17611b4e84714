"""Workflows: what the commands do, as functions that take plain options and return plain results.

Workflows print nothing. They report progress to callbacks, which `nas.views` implements.
"""

"""Sentences computed from results, shared by the terminal, the dashboard and the report."""

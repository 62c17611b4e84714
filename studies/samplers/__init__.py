"""Optuna samplers for studies in which some objectives are known before a trial runs."""

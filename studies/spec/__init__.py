"""What a study asks for: the study file, its scores, budgets and reference models."""

"""`nas profile`: what is asked for, timing it, and showing what it says."""

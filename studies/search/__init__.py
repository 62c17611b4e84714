"""Run a study: propose candidates, evaluate them in stages, store every result."""

"""Training of a torch model on a budget of tokens."""

"""What a user typed on the command line, resolved to a study, a model or a model file."""

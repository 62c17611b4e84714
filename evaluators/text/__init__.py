"""Text: which documents are read, how training and held-out text are split, and tokenizers."""

"""Text: what is read, how it is split between training and scoring, and its tokens."""

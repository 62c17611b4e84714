"""What an Architecture writes and recalls after a training: the scores of quality."""

"""What an Architecture takes on a device: the scores of speed and memory."""

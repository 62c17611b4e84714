"""Speed and memory scores: what the model file of an architecture takes on a device."""

"""Quality scores: what an architecture learns in a short training of its proxy."""

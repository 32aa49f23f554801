"""Events to bytes: one file for each protocol that clients speak."""

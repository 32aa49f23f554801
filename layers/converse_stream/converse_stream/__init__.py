"""The shared layer: what both functions know about chat, from the request's body to the table's keys."""

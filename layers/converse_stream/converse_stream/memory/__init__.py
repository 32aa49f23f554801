"""What the assistant knows when it answers."""

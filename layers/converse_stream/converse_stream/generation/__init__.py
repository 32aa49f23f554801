"""The running answer: its plan, its threads and its followers."""

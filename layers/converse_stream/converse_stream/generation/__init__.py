"""The generation of an answer: its plan, its threads and its followers."""

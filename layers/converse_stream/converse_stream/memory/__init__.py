"""The memory of an answer: history, profile, facts, documents and citations."""

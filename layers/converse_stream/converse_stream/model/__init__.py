"""The model: transport (every Bedrock call), converters (pure), stream (Converse events to ours), answer (policy)."""

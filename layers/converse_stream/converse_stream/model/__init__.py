"""The model: transport (all calls to Bedrock), converters (pure), stream (events), client (retries and fallbacks)."""

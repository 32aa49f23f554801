"""The API of OpenAI's SDKs."""

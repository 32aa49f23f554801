"""OpenAI's chat completions: requests, prompts and frames."""

"""Prompts for the model: prompt (the value), builder, history, templates (our texts, and fences). Pure."""

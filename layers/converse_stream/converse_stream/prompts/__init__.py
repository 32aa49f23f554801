"""What the model is sent: prompt (the value), builder, history, templates (our words, and fences). Pure."""

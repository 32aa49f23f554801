"""Building what the model is sent. Pure."""

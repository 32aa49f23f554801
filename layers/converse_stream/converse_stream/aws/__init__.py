"""Clients for AWS: their connections, deadlines and cancellation."""

"""Clients of AWS services: their connections, deadlines and cancellation."""

"""Encodes events as bytes: one module for each protocol of the clients."""

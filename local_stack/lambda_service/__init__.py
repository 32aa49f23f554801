"""Emulates Lambda: execution environments, their Runtime API, and the Invoke API."""

"""Starts background tasks in the task function."""

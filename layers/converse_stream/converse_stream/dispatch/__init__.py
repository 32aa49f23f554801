"""Work that is handed to the task function."""

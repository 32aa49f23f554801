"""The events of an answer, its messages and errors: values that every other package uses."""

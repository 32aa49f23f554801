"""Events, messages and errors: the values that all other packages use."""

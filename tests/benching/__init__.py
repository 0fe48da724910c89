"""Times, memory and bytes: the parts of the command `tests/bench`."""

"""Power cuts on a disk that forgets: the parts of `tests/system powercut`."""

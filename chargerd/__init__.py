"""Open controller for AC electric-vehicle chargers."""

__version__ = "0.1.0"

"""OCPP 1.6J."""

from chargerd.ocpp.v16.dialect import Dialect16

__all__ = ["Dialect16"]

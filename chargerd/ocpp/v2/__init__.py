"""OCPP 2.0.1."""

from chargerd.ocpp.v2.dialect import Dialect201

__all__ = ["Dialect201"]

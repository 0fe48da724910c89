"""OCPP 2.x: 2.0.1, and in `dialect21` what 2.1 says otherwise."""

from chargerd.ocpp.v2.dialect import Dialect201

__all__ = ["Dialect201"]

"""Scaler 3 as between two hosts (perf.links says how)."""

from perf.links import WIRE
from perf.peers.engines import rings


def open_engine() -> rings.ScalerEngine:
    return rings.open_engine(WIRE)

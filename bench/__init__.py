"""Measurements beside the peers, on this machine, in one run."""

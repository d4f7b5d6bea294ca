"""Measures Satellite on this machine: `make bench`."""

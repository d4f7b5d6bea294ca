"""The command line: start, watch and stop the whole system on one machine, and talk to its API."""

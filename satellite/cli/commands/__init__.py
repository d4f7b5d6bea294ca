"""The commands' names, arguments and help. What each does is in the module of `satellite.cli` that it calls.

Those modules are imported inside the commands, so that `satellite --help` is there at once.
"""

"""What people serve models with today, on the same machine, with the same model, set up as its experts would.

`subject.py` says what all that is measured has in common; there is one module per peer here, which starts and
stops it, and in `served/` what then runs, inside an environment of its own (`benchmarks/environments/`).
"""

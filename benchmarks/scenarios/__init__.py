"""Loads that ask of Satellite what its design promises: each says what was measured, and what was wanted."""

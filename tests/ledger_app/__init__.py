"""Workflows whose every effect has a witness, for the tests that crash them, race them and replay them."""

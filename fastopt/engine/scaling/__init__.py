"""Runs feature scaling: fitting and transforming."""

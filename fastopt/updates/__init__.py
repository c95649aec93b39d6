"""The public updates: one file per family, the simplest first."""

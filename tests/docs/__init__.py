"""Documentation, examples, types and style."""

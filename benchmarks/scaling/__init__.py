"""Feature scaling: fitting, and transforms in place."""

"""Random numbers: initialisation and dropout."""

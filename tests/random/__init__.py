"""Random numbers: initialisation, dropout, mini-batches."""

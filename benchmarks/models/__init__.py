"""Steps of whole models: many tensors, and what surrounds their update."""

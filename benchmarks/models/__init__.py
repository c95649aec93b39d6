"""Steps of whole models: updates of many tensors, with clipping and other work around them."""

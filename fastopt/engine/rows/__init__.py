"""Gathers rows for mini-batches, and copies windows of images for augmentation."""

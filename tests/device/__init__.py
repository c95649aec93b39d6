"""CUDA without a device, and on a device."""

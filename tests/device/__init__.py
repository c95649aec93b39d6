"""CUDA without a device, and on one."""

"""Records the bits of thousands of random calls, and compares two builds of fastopt by them."""

"""Records digests of the results of thousands of random calls, and compares two builds of fastopt."""

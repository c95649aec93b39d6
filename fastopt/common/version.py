"""The version of the package, for what is kept beyond a process: kernels in the user's cache folder."""

VERSION = "0.1.0"

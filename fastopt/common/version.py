"""The version of the package, for files that outlive a process: kernels in the user's cache folder."""

VERSION = "0.1.0"

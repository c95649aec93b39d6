"""What holds for every function and class."""

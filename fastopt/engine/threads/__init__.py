"""The pool of threads, and how a call divides its work among them."""

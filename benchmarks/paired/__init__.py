"""Times two builds of fastopt in turns, in two processes, with many short rounds of all rows."""

"""Times two builds of fastopt in turns: a process for each, one row after the other, in many short rounds."""

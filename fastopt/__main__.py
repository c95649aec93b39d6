"""The command line: ``python -m fastopt`` prints the output of `fastopt.show_config`."""

from fastopt.config import show_config

show_config()

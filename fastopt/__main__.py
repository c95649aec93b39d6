"""The command line: ``python -m fastopt`` prints what `fastopt.show_config` does."""

from fastopt.config import show_config

show_config()

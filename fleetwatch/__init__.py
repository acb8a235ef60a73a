"""The application: the command line, the config file and the composition of the parts in one process."""

__version__ = "0.1.0"

"""The application: the command line, the config file and the composition of the parts in one process."""

from importlib.metadata import version

__version__ = version("fleetwatch")

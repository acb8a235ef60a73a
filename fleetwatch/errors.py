"""What keeps a process from starting.

StartError    a port is taken, an address does not resolve, ...: the process exits with 1
"""

from common.errors import FleetwatchError


class StartError(FleetwatchError):
    """The process cannot start; the message says what is in the way and what to change."""

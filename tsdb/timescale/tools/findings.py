"""What `db doctor` finds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, and the command that mends it."""

    fault: str
    remedy: str

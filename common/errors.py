"""The root of Fleetwatch's exceptions.

    FleetwatchError           anything a user can mend; shown as one line, never as a traceback
    +-- ConfigError           a config, rule or target file (common.yamlfile)
    +-- DurationError         text that is no duration (common.durations)
    +-- MatcherError          a label matcher that does not compile (common.matchers)
    +-- ...                   one small branch per room, drawn in that room's `errors` module

A message says what was wrong, where, and what would be right.
"""


class FleetwatchError(Exception):
    """A failure with a message for the user: what is wrong, where, and the remedy."""

"""`external_labels` with `$NAME` and `${NAME}` replaced from the environment, as Go's `os.Expand` does it.

`$$` is a dollar sign. A variable that is not set, or a brace without a name or an end, becomes nothing; a `$` before
anything else stands for itself.
"""

import re
from collections.abc import Mapping

# One special character, or one digit, is a name of its own, so that `$1x` is the variable `1` and an `x`.
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>[^}]*)\}|(?P<open>\{)|(?P<special>[*#$@!?\-0-9])|(?P<name>[A-Za-z0-9_]+))")


def expand(labels: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """The labels with their values expanded; one may become empty."""

    def value_of(variable: re.Match[str]) -> str:
        name = variable["braced"] or variable["special"] or variable["name"] or ""
        return "$" if name == "$" else environment.get(name, "")

    return {name: _VARIABLE.sub(value_of, value) for name, value in labels.items()}

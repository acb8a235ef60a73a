"""A relabelling rule that drops metrics, for those that nobody reads."""

from collections.abc import Iterable, Mapping
from typing import Any

import re2
import yaml

from common.labels import METRIC_NAME
from scraper.series import EXTRA_REPORT_NAMES, REFUSED_NAME, REPORT_NAMES

# Series that do not come out of the bodies of targets, so that no rule of a job can drop them.
_MADE_HERE = frozenset((*REPORT_NAMES, *EXTRA_REPORT_NAMES, REFUSED_NAME, "ALERTS", "ALERTS_FOR_STATE", ""))


def drop_rule(names: Iterable[str]) -> dict[str, Any] | None:
    """An entry of `metric_relabel_configs` that drops metrics; None where there is none that it could drop.

    Left out are report series, and names with a colon, which recording rules make.
    """
    droppable = sorted(name for name in names if name not in _MADE_HERE and ":" not in name)
    if not droppable:
        return None
    return {"source_labels": [METRIC_NAME], "regex": "|".join(map(re2.escape, droppable)), "action": "drop"}


def rule_as_yaml(rule: Mapping[str, Any]) -> str:
    """A rule as it stands in a config file."""
    # PyYAML would write some line breaks of Unicode as they are, and read them as blanks.
    as_it_is = rule["regex"].isprintable()
    return yaml.safe_dump({"metric_relabel_configs": [rule]}, allow_unicode=as_it_is, sort_keys=False, width=10**9)

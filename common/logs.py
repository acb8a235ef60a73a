"""Logging for every process: one line an event, as logfmt or JSON, on standard error.

Code logs through the standard library: `log.warning("scrape pool reloaded", extra={"job": "node", "targets": 3})`;
what stands in `extra` becomes fields of the line.
"""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any, Literal

_NEEDS_QUOTES = re.compile(r'[\s="\\\x00-\x1f\x7f]|^$')
_RECORD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

LogFormat = Literal["logfmt", "json"]


def set_up_logging(level: str = "info", log_format: LogFormat = "logfmt") -> None:
    """Send all logging to standard error; `level` is debug, info, warn or error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JSONFormatter() if log_format == "json" else LogfmtFormatter())
    names = logging.getLevelNamesMapping()
    logging.basicConfig(level=names[level.upper()], handlers=[handler], force=True)
    # It tells of each change of a watched directory: of this very log too, where that lies there, and so on for ever.
    logging.getLogger("watchfiles").setLevel(logging.WARNING)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    fields: dict[str, Any] = {"time": time, "level": record.levelname, "component": record.name}
    fields["msg"] = record.getMessage()
    fields |= {key: value for key, value in vars(record).items() if key not in _RECORD_ATTRIBUTES}
    return fields


class LogfmtFormatter(logging.Formatter):
    """`time=... level=INFO component=scraper.loop msg="..." key=value`, a traceback on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line = " ".join(f"{key}={_quoted(str(value))}" for key, value in _fields(record).items())
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JSONFormatter(logging.Formatter):
    """The same fields as a JSON object, a traceback under `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        fields = _fields(record)
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str, ensure_ascii=False)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if _NEEDS_QUOTES.search(text) else text

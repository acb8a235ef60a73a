"""Log lines: one an event, readable back."""

import json
import logging

import pytest

from common.logs import JSONFormatter, LogfmtFormatter


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "scraper.loop", "levelname": "WARNING", "msg": message, "created": 1.5})
    vars(made).update(extra)
    return made


@pytest.mark.parametrize(
    ("message", "extra", "line"),
    [
        ("reloaded", {}, "msg=reloaded"),
        ("two words", {"targets": 3}, 'msg="two words" targets=3'),
        ('a "quote"\nand a line', {"empty": ""}, r'msg="a \"quote\"\nand a line" empty=""'),
    ],
)
def test_logfmt(message: str, extra: dict[str, object], line: str) -> None:
    prefix = "time=1970-01-01T00:00:01.500Z level=WARNING component=scraper.loop "
    assert LogfmtFormatter().format(record(message, **extra)) == prefix + line


def test_json_has_the_same_fields() -> None:
    assert json.loads(JSONFormatter().format(record("two words", targets=3))) == {
        "time": "1970-01-01T00:00:01.500Z",
        "level": "WARNING",
        "component": "scraper.loop",
        "msg": "two words",
        "targets": 3,
    }

"""Variables in external labels; what comes out is what Prometheus 3.5 shows for the same text and environment."""

import pytest

from scraper.external_labels import expand

ENVIRONMENT = {"A": "x", "_b": "u"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A", "x"),
        ("${A}", "x"),
        ("$$A", "$A"),
        ("${$}A", "$A"),
        ("$1x", "x"),
        ("$_b-", "u-"),
        ("$", "$"),
        ("a$", "a$"),
        ("${", ""),
        ("${}x", "x"),
        ("$-x", "x"),
        ("${A", "A"),
        ("$ A", "$ A"),
        ("$A_", ""),
        ("é$Aé", "éxé"),
        ("$NONE.", "."),
        ("$NONE", ""),
    ],
)
def test_expanded_as_prometheus_does(text: str, expected: str) -> None:
    assert expand({"label": text}, ENVIRONMENT) == {"label": expected}

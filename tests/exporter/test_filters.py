"""Include and exclude patterns."""

import subprocess
import sys

import pytest

from exporter.filters import Filter, shipped

DEFAULT = shipped("^lo$")


@pytest.mark.parametrize(
    ("include", "exclude", "allowed"),
    [
        ("", "", {"lo", "eth0", "veth1"}),
        ("eth", "", {"eth0", "veth1"}),
        ("^eth", "", {"eth0"}),
        ("", "^v", {"lo", "eth0"}),
        ("", DEFAULT, {"eth0", "veth1"}),
        ("^lo$", DEFAULT, {"lo"}),
    ],
)
def test_what_is_reported(include: str, exclude: str, allowed: set[str]) -> None:
    reported = Filter(include, exclude, default_exclude=DEFAULT)

    for _ in range(2):
        assert {name for name in ("lo", "eth0", "veth1") if reported.allows(name)} == allowed


@pytest.mark.parametrize(
    ("include", "exclude", "message"),
    [
        ("a", "b", "mutually exclusive"),
        ("(", "", r"'\(' is no regular expression: missing \)"),
        ("", "a(?=b)", "is no regular expression: invalid perl operator"),
    ],
)
def test_what_is_refused(include: str, exclude: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Filter(include, exclude, default_exclude=DEFAULT)


def test_names_may_hold_any_byte() -> None:
    name = b"eth\xff0".decode("utf-8", "surrogateescape")

    assert Filter("^eth.0$").allows(name)
    assert Filter("", DEFAULT).allows(name)


def test_defaults_do_without_re2() -> None:
    code = "import sys; from exporter.app import create_app; create_app(); print('re2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"

"""Passwords and request rates, without a server."""

import asyncio

import aiohttp
import bcrypt
import pytest

from common.webconfig.auth import BasicAuth
from common.webconfig.rate_limit import TokenBucket
from common.webconfig.schema import Interval, RateLimit


def hashed(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


LONG = "x" * 72
AUTH_USERS = {"prom": hashed("pass:word"), "zoë": hashed("schlüssel"), "long": hashed(LONG)}


@pytest.mark.parametrize(
    ("user", "password", "is_allowed"),
    [
        ("prom", "pass:word", True),
        ("prom", "pass", False),
        ("prom", "", False),
        ("prom", "schlüssel", False),
        ("zoë", "schlüssel", True),
        ("long", LONG, True),
        ("long", LONG + "what Go's bcrypt does not read either", True),
        ("long", LONG[:-1], False),
        ("nobody", "pass:word", False),  # the hash that is checked instead is the one of the first user
        ("", "pass:word", False),
    ],
)
async def test_every_password_that_is_not_remembered_costs_one_check(
    user: str, password: str, is_allowed: bool
) -> None:
    auth = BasicAuth(AUTH_USERS)
    header = aiohttp.encode_basic_auth(user, password, encoding="utf-8")
    assert [await auth.allows(header) for _ in range(3)] == [is_allowed] * 3
    assert auth.checks == (1 if is_allowed else 3)


@pytest.mark.parametrize(
    "header", ["", "Basic", "Basic ", "Basic %%%", "Basic cHJvbQ==", "Basic é", "Bearer cHJvbTpwYXNzOndvcmQ="]
)
async def test_a_header_without_credentials_costs_no_check(header: str) -> None:
    auth = BasicAuth(AUTH_USERS)
    assert not await auth.allows(header)
    assert auth.checks == 0


async def test_the_event_loop_goes_on_during_a_check() -> None:
    auth = BasicAuth({"prom": bcrypt.hashpw(b"x", bcrypt.gensalt(10)).decode()})
    check = asyncio.create_task(auth.allows(aiohttp.encode_basic_auth("prom", "x")))
    turns = 0
    while not check.done():
        await asyncio.sleep(0)
        turns += 1
    assert await check
    assert turns > 10


def test_a_token_bucket_gains_a_token_every_interval_up_to_its_burst() -> None:
    now = 100.0
    bucket = TokenBucket(RateLimit(Interval(2.0), 3), lambda: now)

    def taken() -> int:
        return sum(bucket.take() for _ in range(10))

    assert taken() == 3
    now += 1.9
    assert taken() == 0
    now += 0.2
    assert taken() == 1
    now += 3600
    assert taken() == 3


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1m30s", 90),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("100us", 1e-4),
        ("2ms3ns", 0.002000003),
        ("0", 0),
        ("1000000000", 1),
    ],
)
def test_intervals_are_go_durations(text: str, seconds: float) -> None:
    assert Interval.from_yaml(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "1d", "1 s", "s", "1.5", "1m 30s", "-"])
def test_what_is_no_go_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration: write one like 500ms"):
        Interval.from_yaml(text)

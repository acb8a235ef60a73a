"""EC2 discovery: where credentials and region come from, and what happens when AWS refuses. Labels are in cases/."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web

from common.yamlfile import Duration
from scraper.discovery.ec2 import EC2SDConfig, Filter
from tests.scraper.discovery.api_case import read_case
from tests.scraper.discovery.discovering import REFRESH_MS, FakeAPI, failures, running, serving_api, surroundings
from tests.scraper.targets import eventually

ROLE = """
<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
  <AccessKeyId>ROLEKEY</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>tok</SessionToken>
  <Expiration>2099-01-01T00:00:00Z</Expiration>
</Credentials></AssumeRoleResult></AssumeRoleResponse>
"""
DENIED = "<Response><Errors><Error><Code>%s</Code><Message>not you</Message></Error></Errors></Response>"


@pytest.fixture(autouse=True)
def nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials but those of the test, and no question to an address outside."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1/")


def answers(**more: Any) -> dict[str, Any]:
    return {**read_case("ec2").answers, **more}


def config_for(api: FakeAPI, **keys: Any) -> EC2SDConfig:
    given = {"region": "eu-west-1", "endpoint": api.url, "refresh_interval": Duration(REFRESH_MS), **keys}
    return EC2SDConfig(**given)


def credentials_in(request: web.Request) -> str:
    """The access key that a request was signed with, and the region it is for."""
    scope = request.headers["Authorization"].partition("Credential=")[2].split("/")
    return f"{scope[0]} {scope[2]}"


async def test_request() -> None:
    filters = (Filter(name="tag:a", values=("x", "y")), Filter(name="vpc-id", values=("v",)))
    async with serving_api(answers()) as api:
        config = config_for(api, access_key="AKID", secret_key="s", filters=filters)
        async with running(config.discoverer(surroundings())) as published:
            await eventually(lambda: len(published.targets) == 2)
            assert published.groups[0].source == "eu-west-1"
        forms = [parse_qs(body.decode()) for body in api.bodies]
        form = next(form for form in forms if form["Action"] == ["DescribeInstances"])
        assert {key: value for key, [value] in form.items() if key.startswith("Filter")} == {
            "Filter.1.Name": "tag:a",
            "Filter.1.Value.1": "x",
            "Filter.1.Value.2": "y",
            "Filter.2.Name": "vpc-id",
            "Filter.2.Value.1": "v",
        }
        assert credentials_in(api.requests[0]) == "AKID eu-west-1"


async def test_credentials_of_a_profile(tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text("[mine]\naws_access_key_id = PROFKEY\naws_secret_access_key = s\n")
    async with serving_api(answers()) as api:
        async with running(config_for(api, profile="mine").discoverer(surroundings())) as published:
            await eventually(lambda: len(published.targets) == 2)
        assert credentials_in(api.requests[0]) == "PROFKEY eu-west-1"


async def test_a_role_is_taken_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving_api(answers(**{"/#AssumeRole": ROLE})) as api:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", api.url)
        config = config_for(api, access_key="AKID", secret_key="s", role_arn="arn:aws:iam::1:role/r")
        async with running(config.discoverer(surroundings())) as published:
            await eventually(lambda: len(published.targets) == 2)
        assert [credentials_in(request).split()[0] for request in api.requests[:2]] == ["AKID", "ROLEKEY"]
        assert api.requests[1].headers["X-Amz-Security-Token"] == "tok"


async def test_the_region_of_this_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = {
        "/latest/api/token": lambda _: web.Response(text="token"),
        "/latest/meta-data/placement/availability-zone/": lambda _: web.Response(text="us-west-2b"),
    }
    async with serving_api(answers(**metadata)) as api:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{api.url}/")
        config = config_for(api, region="", access_key="AKID", secret_key="s")
        async with running(config.discoverer(surroundings())) as published:
            await eventually(lambda: len(published.targets) == 2)
            assert published.targets[0]["__meta_ec2_region"] == "us-west-2"
        assert credentials_in(api.requests[-1]) == "AKID us-west-2"


async def test_without_region_or_credentials_it_fails_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    around = surroundings()
    async with serving_api(answers()) as api:
        async with running(config_for(api, region="").discoverer(around)):
            await eventually(lambda: failures(around, "ec2") >= 1)
        async with running(config_for(api).discoverer(around)):
            await eventually(lambda: failures(around, "ec2") >= 3)
    errors = [vars(record)["error"] for record in caplog.records if record.levelname == "WARNING"]
    assert errors[0] == "ec2_sd_configs: no region is given, and this machine is in none"
    assert "credentials" in errors[1]


async def test_a_refusal_keeps_the_targets() -> None:
    around = surroundings()
    async with serving_api(answers()) as api:
        config = config_for(api, access_key="AKID", secret_key="s")
        async with running(config.discoverer(around)) as published:
            await eventually(lambda: len(published.targets) == 2)
            allowed = api.answers["/#DescribeInstances"]
            api.answers["/#DescribeInstances"] = lambda _: web.Response(status=401, text=DENIED % "AuthFailure")
            await eventually(lambda: failures(around, "ec2") >= 1)
            assert len(published.targets) == 2
            before = published.times
            api.answers["/#DescribeInstances"] = allowed
            await eventually(lambda: published.times > before)


async def test_after_a_refusal_credentials_are_read_anew(tmp_path: Path) -> None:
    text = "[mine]\naws_access_key_id = %s\naws_secret_access_key = s\n"
    (tmp_path / "credentials").write_text(text % "OLD")
    denied = {"/#DescribeInstances": lambda _: web.Response(status=401, text=DENIED % "AuthFailure")}
    async with (
        serving_api(answers(**denied)) as api,
        running(config_for(api, profile="mine").discoverer(surroundings())),
    ):
        await eventually(lambda: len(api.requests) >= 2)
        (tmp_path / "credentials").write_text(text % "NEW")
        await eventually(lambda: credentials_in(api.requests[-1]).startswith("NEW"))


async def test_zones_that_may_not_be_listed_cost_no_targets() -> None:
    denied = {"/#DescribeAvailabilityZones": lambda _: web.Response(status=403, text=DENIED % "UnauthorizedOperation")}
    async with serving_api(answers(**denied)) as api:
        config = config_for(api, access_key="AKID", secret_key="s")
        async with running(config.discoverer(surroundings())) as published:
            await eventually(lambda: len(published.targets) == 2)
            assert "__meta_ec2_availability_zone_id" not in published.targets[0]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (EC2SDConfig(), []),
        (EC2SDConfig(access_key="a"), ["x.secret_key"]),
        (EC2SDConfig(filters=(Filter(name="a"),)), ["x.filters[0].values"]),
    ],
)
def test_problems(config: EC2SDConfig, expected: list[str]) -> None:
    assert [problem.key_path for problem in config.problems("x")] == expected

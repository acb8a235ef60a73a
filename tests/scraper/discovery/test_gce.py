"""Google Cloud against an API that answers as its reference says, with each kind of credentials."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from common.yamlfile import Duration
from scraper.discovery.gce import GCESDConfig
from scraper.discovery.gce_token import GCLOUD_FILE, METADATA_PATH
from tests.scraper.discovery.discovering import (
    REFRESH_MS,
    FakeAPI,
    Published,
    failures,
    running,
    serving_api,
    surroundings,
)
from tests.scraper.targets import eventually

INSTANCES = "/compute/v1/projects/proj/zones/us-east1-b/instances"
ZONE = "https://www.googleapis.com/compute/v1/projects/proj/zones/us-east1-b"

FULL = {
    "id": "4181234567890",
    "name": "inst-1",
    "status": "RUNNING",
    "zone": ZONE,
    "machineType": f"{ZONE}/machineTypes/e2-small",
    "tags": {"fingerprint": "x", "items": ["web", "prod"]},
    "metadata": {"items": [{"key": "my-key", "value": "v"}, {"key": "bare"}]},
    "labels": {"my-label": "x"},
    "networkInterfaces": [
        {
            "name": "nic0",
            "network": "net/default",
            "subnetwork": "sub/a",
            "networkIP": "10.0.0.1",
            "accessConfigs": [{"type": "ONE_TO_ONE_NAT", "natIP": "34.0.0.1"}],
        },
        {"name": "nic-1", "networkIP": "10.1.0.1"},
    ],
}
BARE: dict[str, Any] = {
    "id": "2",
    "name": "inst-2",
    "tags": {"fingerprint": "y"},
    "networkInterfaces": [
        {"name": "nic0", "networkIP": "10.0.0.2", "accessConfigs": [{"type": "DIRECT_IPV6", "natIP": "34.0.0.2"}]}
    ],
}
ANSWERS: dict[str, Any] = {
    METADATA_PATH: {"access_token": "machine's", "expires_in": 3599, "token_type": "Bearer"},
    "/token": {"access_token": "user's", "expires_in": 3599, "token_type": "Bearer"},
    INSTANCES: {"items": [FULL, {"name": "unconnected"}], "nextPageToken": "more"},
    f"{INSTANCES}?filter=status%3DRUNNING&pageToken=more": {"items": [BARE]},
    f"{INSTANCES}?pageToken=more": {"items": [BARE]},
}

TARGETS = [
    {
        "__address__": "10.0.0.1:9100",
        "__meta_gce_instance_id": "4181234567890",
        "__meta_gce_instance_name": "inst-1",
        "__meta_gce_instance_status": "RUNNING",
        "__meta_gce_interface_ipv4_nic0": "10.0.0.1",
        "__meta_gce_interface_ipv4_nic_1": "10.1.0.1",
        "__meta_gce_label_my_label": "x",
        "__meta_gce_machine_type": f"{ZONE}/machineTypes/e2-small",
        "__meta_gce_metadata_my_key": "v",
        "__meta_gce_network": "net/default",
        "__meta_gce_private_ip": "10.0.0.1",
        "__meta_gce_project": "proj",
        "__meta_gce_public_ip": "34.0.0.1",
        "__meta_gce_subnetwork": "sub/a",
        "__meta_gce_tags": ";web;prod;",
        "__meta_gce_zone": ZONE,
    },
    {
        "__address__": "10.0.0.2:9100",
        "__meta_gce_instance_id": "2",
        "__meta_gce_instance_name": "inst-2",
        "__meta_gce_interface_ipv4_nic0": "10.0.0.2",
        "__meta_gce_private_ip": "10.0.0.2",
        "__meta_gce_project": "proj",
    },
]


@pytest.fixture(autouse=True)
def _nobody_signed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)


@asynccontextmanager
async def google(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeAPI]:
    async with serving_api(dict(ANSWERS)) as api:
        monkeypatch.setenv("GCE_METADATA_HOST", api.url.removeprefix("http://"))
        yield api


async def found(api: FakeAPI, **keys: Any) -> Published:
    common = {"project": "proj", "zone": "us-east1-b", "port": 9100, "refresh_interval": Duration(REFRESH_MS)}
    config = GCESDConfig(**{**common, **keys})
    async with running(config.discoverer(surroundings(), url=api.url)) as published:
        await eventually(lambda: published.times > 1)
    return published


def tokens(api: FakeAPI) -> set[str | None]:
    return {request.headers.get("Authorization") for request in api.requests if request.path == INSTANCES}


async def test_targets_by_the_metadata_server_s_token(monkeypatch: pytest.MonkeyPatch) -> None:
    async with google(monkeypatch) as api:
        published = await found(api, filter="status=RUNNING", tag_separator=";")
    assert published.targets == TARGETS
    assert [group.source for group in published.groups] == ["GCE_proj_us-east1-b"]
    asked = [request for request in api.requests if request.path == METADATA_PATH]
    assert [request.headers["Metadata-Flavor"] for request in asked] == ["Google"]  # once for all refreshes
    assert tokens(api) == {"Bearer machine's"}
    assert {request.query.get("filter") for request in api.requests if request.path == INSTANCES} == {"status=RUNNING"}


@pytest.mark.parametrize("named", [True, False])
async def test_the_credentials_of_a_user(named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with google(monkeypatch) as api:
        user = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
        path = tmp_path / ("named.json" if named else GCLOUD_FILE)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**user, "token_uri": f"{api.url}/token"}))
        if named:
            monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
        await found(api)
        form = dict(parse_qsl(api.bodies[0].decode()))
    assert form == {"grant_type": "refresh_token", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    assert tokens(api) == {"Bearer user's"}


@pytest.mark.parametrize("text", ['{"type": "service_account"}', "{", None])
async def test_credentials_that_cannot_be_used(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text is not None:
        (tmp_path / "key.json").write_text(text)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    around = surroundings()
    async with google(monkeypatch) as api:
        config = GCESDConfig(project="proj", zone="us-east1-b")
        async with running(config.discoverer(around, url=api.url)) as published:
            await eventually(lambda: failures(around, "gce") > 0)
        assert published.times == 0
        assert api.requests == []

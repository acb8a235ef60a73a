"""What is special about Azure: who asks, pages, and interfaces that are not asked for with every refresh."""

from typing import Any

import pytest
from aiohttp import web

from common.yamlfile import Duration
from scraper.discovery.azure import AzureSDConfig
from scraper.http_config import BasicAuth
from tests.scraper.discovery.discovering import REFRESH_MS, FakeAPI, failures, running, serving_api, surroundings
from tests.scraper.targets import eventually

MACHINES = "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines"
SCALE_SETS = "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.Compute/virtualMachineScaleSets"
INTERFACE = "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.Network/networkInterfaces/nic"
METADATA = "/metadata/identity/oauth2/token"


def machine(name: str) -> dict[str, Any]:
    profile = {"networkInterfaces": [{"id": INTERFACE}]}
    return {"id": f"{MACHINES}/{name}", "name": name, "properties": {"networkProfile": profile}}


def first_page(request: web.Request) -> dict[str, Any]:
    return {"value": [machine("a")], "nextLink": f"http://{request.host}{MACHINES}?api-version=1&$skiptoken=x"}


def answers() -> dict[str, Any]:
    addresses = {"primary": True, "ipConfigurations": [{"properties": {"privateIPAddress": "10.0.0.1"}}]}
    return {
        METADATA: {"access_token": "machine's", "expires_in": "3599", "token_type": "Bearer"},
        "/ten/oauth2/v2.0/token": {"access_token": "application's", "expires_in": 3599, "token_type": "Bearer"},
        MACHINES: first_page,
        f"{MACHINES}?api-version=1&$skiptoken=x": {"value": [machine("b")]},
        SCALE_SETS: {"value": []},
        INTERFACE: {"properties": addresses},
    }


def config_for(method: Any, **keys: Any) -> AzureSDConfig:
    fast = Duration(REFRESH_MS)
    common = {"subscription_id": "sub", "resource_group": "rg", "authentication_method": method}
    return AzureSDConfig(**{**common, "refresh_interval": fast, **keys})


def tokens(api: FakeAPI) -> set[str | None]:
    asked = [request for request in api.requests if request.path.startswith("/subscriptions")]
    return {request.headers.get("Authorization") for request in asked}


async def test_a_managed_identity_and_pages() -> None:
    async with serving_api(answers()) as api:
        config = config_for("ManagedIdentity", client_id="mine")
        async with running(config.discoverer(surroundings(), url=api.url)) as published:
            await eventually(lambda: published.times > 0)
            assert [target["__meta_azure_machine_name"] for target in published.targets] == ["a", "b"]
        request = api.requests[0]
        assert request.path == METADATA
        assert request.headers["Metadata"] == "true"
        assert dict(request.query) == {"api-version": "2018-02-01", "resource": api.url, "client_id": "mine"}
        assert tokens(api) == {"Bearer machine's"}


async def test_an_application_signs_in_whatever_else_the_config_has() -> None:
    application = {"tenant_id": "ten", "client_id": "cli", "client_secret": "sec"}
    async with serving_api(answers()) as api:
        config = config_for("OAuth", **application, basic_auth=BasicAuth(username="a"))
        async with running(config.discoverer(surroundings(), url=api.url)) as published:
            await eventually(lambda: published.times > 1)
        assert tokens(api) == {"Bearer application's"}
        assert b"grant_type=client_credentials&scope=http" in api.bodies[0]


SDK = {"AZURE_TENANT_ID": "ten", "AZURE_CLIENT_ID": "cli", "AZURE_CLIENT_SECRET": "sec"}


@pytest.mark.parametrize(("environment", "token"), [({}, "machine's"), (SDK, "application's")])
async def test_the_sdk_s_environment_or_else_the_machine(
    environment: dict[str, str], token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    async with serving_api(answers()) as api:
        async with running(config_for("SDK").discoverer(surroundings(), url=api.url)) as published:
            await eventually(lambda: published.times > 0)
        assert tokens(api) == {f"Bearer {token}"}


async def test_interfaces_are_kept_for_a_while() -> None:
    async with serving_api(answers()) as api:
        config = config_for("ManagedIdentity", refresh_interval=Duration(1))

        def asked(path: str) -> int:
            return sum(request.path == path for request in api.requests)

        async with running(config.discoverer(surroundings(), url=api.url)):
            await eventually(lambda: asked(INTERFACE) > 1)  # the end of its time
            assert asked(SCALE_SETS) > asked(INTERFACE)


async def test_an_interface_that_cannot_be_asked_for_is_a_failure() -> None:
    around = surroundings()
    broken = {INTERFACE: lambda _: web.json_response({}, status=503)}
    async with (
        serving_api({**answers(), **broken}) as api,
        running(config_for("ManagedIdentity").discoverer(around, url=api.url)) as published,
    ):
        await eventually(lambda: failures(around, "azure") > 0)
        assert published.times == 0

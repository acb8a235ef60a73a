"""Signing in to OpenStack with Keystone's v3 API, and the lists of its services.

See https://docs.openstack.org/api-ref/identity/v3/. Who signs in is said as gophercloud takes it.
"""

import os
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
import orjson

from scraper.discovery.http_api import HTTPAPI, decode
from scraper.discovery.model import DiscoveryError

T = TypeVar("T")

# Field -> environment variables, the first that is set.
_ENVIRONMENT = {
    "identity_endpoint": ("OS_AUTH_URL",),
    "username": ("OS_USERNAME",),
    "userid": ("OS_USERID",),
    "password": ("OS_PASSWORD",),
    "project_id": ("OS_PROJECT_ID", "OS_TENANT_ID"),
    "project_name": ("OS_PROJECT_NAME", "OS_TENANT_NAME"),
    "domain_id": ("OS_DOMAIN_ID",),
    "domain_name": ("OS_DOMAIN_NAME",),
    "application_credential_id": ("OS_APPLICATION_CREDENTIAL_ID",),
    "application_credential_name": ("OS_APPLICATION_CREDENTIAL_NAME",),
    "application_credential_secret": ("OS_APPLICATION_CREDENTIAL_SECRET",),
}


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """A user with a password or an application credential; from the environment without `identity_endpoint`."""

    identity_endpoint: str = ""
    username: str = ""
    userid: str = ""
    password: str = ""
    project_name: str = ""
    project_id: str = ""
    domain_name: str = ""
    domain_id: str = ""
    application_credential_name: str = ""
    application_credential_id: str = ""
    application_credential_secret: str = ""


def from_environment(environment: Mapping[str, str]) -> Credentials:
    """What the variables OS_AUTH_URL and so on say. Raises DiscoveryError where that one is missing."""
    found = {
        field: next((environment[name] for name in names if environment.get(name)), "")
        for field, names in _ENVIRONMENT.items()
    }
    if not found["identity_endpoint"]:
        raise DiscoveryError(
            "neither identity_endpoint nor the environment variable OS_AUTH_URL says where Keystone is"
        )
    return Credentials(**found)


class Session:
    """A token, and where the services are. Methods raise FleetwatchError."""

    def __init__(self, api: HTTPAPI, token: str, catalog: "list[_Service]", region: str, interface: str) -> None:
        self._api = api
        self._headers = {"X-Auth-Token": token}
        self._catalog = catalog
        self._region = region
        self._interface = interface

    async def all(self, service: str, path: str, key: str, type_: type[list[T]]) -> list[T]:
        """The entries of all pages of a list."""
        endpoint = self._endpoint(service)
        # Some catalogs have the version in the endpoint.
        url = f"{endpoint.removesuffix('/v2.0') if path.startswith('v2.0/') else endpoint}/{path}"
        found: list[T] = []
        while url:
            page = await self._api.json(url, dict[str, msgspec.Raw], headers=self._headers)
            found += decode(page.get(key, b"null"), type_, url)
            links = decode(page.get(f"{key}_links", b"[]"), list[_Link], url)
            url = next((link.href for link in links if link.rel == "next"), "")
        return found

    def _endpoint(self, type_: str) -> str:
        for service in self._catalog:
            for endpoint in service.endpoints if service.type == type_ else ():
                if endpoint.interface == self._interface and self._region in (endpoint.region, endpoint.region_id):
                    return endpoint.url.rstrip("/")
        raise DiscoveryError(f"the catalog has no {self._interface} endpoint of {type_} in region {self._region!r}")


async def signed_in(api: HTTPAPI, credentials: Credentials, region: str, interface: str) -> Session:
    """A session with a token of its own. Raises FleetwatchError."""
    if not credentials.identity_endpoint:
        credentials = from_environment(os.environ)
    base = credentials.identity_endpoint.rstrip("/")
    url = f"{base.removesuffix('/v3')}/v3/auth/tokens"
    body = orjson.dumps({"auth": auth_request(credentials)})
    response = await api.request(url, method="POST", headers={"Content-Type": "application/json"}, data=body)
    catalog = decode(response.body, _Answer, url).token.catalog
    return Session(api, response.headers.get("X-Subject-Token", ""), catalog, region, interface)


def auth_request(who: Credentials) -> dict[str, Any]:
    """The `auth` of a request for a token. Raises DiscoveryError where nobody can sign in so."""
    domain = {"id": who.domain_id} if who.domain_id else {"name": who.domain_name} if who.domain_name else {}
    user: dict[str, Any] = {"id": who.userid} if who.userid else {"name": who.username, "domain": domain}
    if who.application_credential_secret:
        credential: dict[str, Any] = {"secret": who.application_credential_secret}
        if who.application_credential_id:
            credential["id"] = who.application_credential_id
        else:
            credential |= {"name": who.application_credential_name, "user": user}
        return {"identity": {"methods": ["application_credential"], "application_credential": credential}}
    if not who.password:
        raise DiscoveryError("neither password nor application_credential_secret is given")
    if not who.userid and not (who.username and domain):
        raise DiscoveryError("userid, or username with domain_id or domain_name, must say who signs in")
    password = {"user": {**user, "password": who.password}}
    request: dict[str, Any] = {"identity": {"methods": ["password"], "password": password}}
    if who.project_id:
        request["scope"] = {"project": {"id": who.project_id}}
    elif who.project_name:
        request["scope"] = {"project": {"name": who.project_name, "domain": domain}}
    return request


class _Link(msgspec.Struct):
    href: str = ""
    rel: str = ""


class _Endpoint(msgspec.Struct):
    url: str = ""
    interface: str = ""
    region: str | None = None
    region_id: str | None = None


class _Service(msgspec.Struct):
    type: str = ""
    endpoints: list[_Endpoint] = []


class _Token(msgspec.Struct):
    catalog: list[_Service] = []


class _Answer(msgspec.Struct):
    token: _Token

"""What azure discovery asks Azure Resource Manager for, and the token of a managed identity.

See https://learn.microsoft.com/rest/api/ and
https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import msgspec

from scraper.discovery.http_api import HTTPAPI, MIN_TIMEOUT_S, decode
from scraper.discovery.model import DiscoveryError
from scraper.http_config import HTTPConfig

COMPUTE_VERSION = "2022-11-01"
NETWORK_VERSION = "2021-08-01"
SCALE_SET_NETWORK_VERSION = "2018-10-01"
METADATA_VERSION = "2018-02-01"

REQUESTS_AT_ONCE = 20

# An interface is asked for anew after this many refresh intervals, and by chance up to so many more.
_KEEP_INTERVALS, _KEEP_MORE_INTERVALS = 10, 3

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cloud:
    """URLs of one of Azure's clouds: where to sign in, Resource Manager, and the metadata server of a machine."""

    login: str
    manager: str
    metadata: str = "http://169.254.169.254"


def resource_group_of(resource_id: str) -> str:
    """The resource group in an id like /subscriptions/s/resourceGroups/g/... Raises DiscoveryError."""
    parts = resource_id.split("/")
    for key, value in pairwise(parts):
        if key.lower() == "resourcegroups" and value:
            return value
    raise DiscoveryError(f"{resource_id!r} is not the id of a resource in a resource group")


async def metadata_token(cloud: Cloud, client_id: str) -> str:
    """A token of the machine's identity, or of the one of several that `client_id` names. Raises FleetwatchError."""
    url = f"{cloud.metadata}/metadata/identity/oauth2/token"
    params = [("api-version", METADATA_VERSION), ("resource", cloud.manager)]
    if client_id:
        params.append(("client_id", client_id))
    api = HTTPAPI(HTTPConfig(), Path(), MIN_TIMEOUT_S)  # nothing of the config: this is no way through a proxy
    try:
        return (await api.json(url, _Token, params=params, headers={"Metadata": "true"})).access_token
    finally:
        await api.close()


class ResourceManager:
    """Requests for what a subscription has; network interfaces are kept for a while. Methods raise FleetwatchError.

    `token` is sent where it is set.
    """

    def __init__(self, cloud: Cloud, subscription_id: str, interval_s: float) -> None:
        self.token = ""
        self._url = cloud.manager
        self._subscription = f"/subscriptions/{subscription_id}"
        self._interval_s = interval_s
        self._kept: dict[str, tuple[float, Interface]] = {}  # with the end of its time on the monotonic clock
        self._free = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def all(self, api: HTTPAPI, path: str, type_: type[list[T]]) -> list[T]:
        """The entries of all pages of a list of the subscription."""
        url = f"{self._url}{self._subscription}{path}?api-version={COMPUTE_VERSION}"
        found: list[T] = []
        while url:
            page = await api.json(url, _Page, headers=self._headers())
            found += decode(page.value, type_, url)
            url = page.next_link or ""
        return found

    async def interfaces(self, api: HTTPAPI, machines: "Sequence[Machine]") -> "dict[str, Interface | None]":
        """The network interfaces of machines by id; None where one does not exist."""
        wanted = {
            reference.id: machine
            for machine in machines
            for reference in machine.properties.network_profile.network_interfaces
        }
        now_s = time.monotonic()
        self._kept = {key: kept for key, kept in self._kept.items() if key in wanted and kept[0] > now_s}
        missing = [key for key in wanted if key not in self._kept]
        answers = await asyncio.gather(
            *(self._interface(api, key, wanted[key]) for key in missing), return_exceptions=True
        )
        found: dict[str, Interface | None] = {key: interface for key, (_, interface) in self._kept.items()}
        for key, answer in zip(missing, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            found[key] = answer
            if answer is not None:
                keep_s = self._interval_s * (_KEEP_INTERVALS + _KEEP_MORE_INTERVALS * random.random())
                self._kept[key] = (now_s + keep_s, answer)
        return found

    async def _interface(self, api: HTTPAPI, interface_id: str, machine: "Machine") -> "Interface | None":
        group, name = resource_group_of(interface_id), interface_id.rpartition("/")[2]
        path, version = f"Microsoft.Network/networkInterfaces/{name}", NETWORK_VERSION
        if machine.scale_set:
            machine_path = f"virtualMachineScaleSets/{machine.scale_set}/virtualMachines/{machine.instance_id}"
            path, version = f"Microsoft.Compute/{machine_path}/networkInterfaces/{name}", SCALE_SET_NETWORK_VERSION
        url = f"{self._url}{self._subscription}/resourceGroups/{group}/providers/{path}"
        params = [("api-version", version), ("$expand", "IPConfigurations/PublicIPAddress")]
        try:
            async with self._free:
                return await api.json(url, Interface, params=params, headers=self._headers())
        except DiscoveryError as error:
            if str(error).startswith(f'GET "{url}": server returned HTTP status 404'):
                return None
            raise

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


class _Token(msgspec.Struct):
    access_token: str


class _Camel(msgspec.Struct, rename="camel"):
    """Azure's names."""


class _Page(_Camel):
    value: msgspec.Raw
    next_link: str | None = None


class _Reference(_Camel):
    id: str


class _NetworkProfile(_Camel):
    network_interfaces: list[_Reference] = []


class _OSDisk(_Camel):
    os_type: str = ""


class _StorageProfile(_Camel):
    os_disk: _OSDisk = msgspec.field(default_factory=_OSDisk)


class _OSProfile(_Camel):
    computer_name: str = ""


class _HardwareProfile(_Camel):
    vm_size: str = ""


class _MachineProperties(_Camel):
    network_profile: _NetworkProfile = msgspec.field(default_factory=_NetworkProfile)
    storage_profile: _StorageProfile = msgspec.field(default_factory=_StorageProfile)
    os_profile: _OSProfile = msgspec.field(default_factory=_OSProfile)
    hardware_profile: _HardwareProfile = msgspec.field(default_factory=_HardwareProfile)


class Machine(_Camel):
    """A virtual machine; `scale_set` is filled in by who lists the machines of one."""

    id: str
    name: str
    location: str = ""
    instance_id: str = ""
    tags: dict[str, str | None] | None = None
    properties: _MachineProperties = msgspec.field(default_factory=_MachineProperties)
    scale_set: str = ""


class ScaleSet(_Camel):
    """A set of equal machines."""

    id: str
    name: str


class _PublicProperties(_Camel):
    ip_address: str | None = None


class _PublicAddress(_Camel):
    properties: _PublicProperties | None = None


class _IPProperties(_Camel):
    private_ip_address: str | None = msgspec.field(default=None, name="privateIPAddress")
    public_ip_address: _PublicAddress | None = msgspec.field(default=None, name="publicIPAddress")

    @property
    def public(self) -> str:
        """The public address, if any."""
        address = self.public_ip_address.properties if self.public_ip_address else None
        return address.ip_address or "" if address else ""


class _IPConfiguration(_Camel):
    properties: _IPProperties = msgspec.field(default_factory=_IPProperties)


class _InterfaceProperties(_Camel):
    primary: bool | None = None  # missing where the machine is not allocated
    ip_configurations: list[_IPConfiguration] = []


class Interface(_Camel):
    """A network interface."""

    properties: _InterfaceProperties | None = None

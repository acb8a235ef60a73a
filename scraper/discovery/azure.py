"""`azure_sd_configs`: virtual machines of an Azure subscription (prometheus discovery/azure).

Machines and those of scale sets are listed by Azure Resource Manager; the addresses of each are those of its primary
network interface, which is asked for once in a while. See https://learn.microsoft.com/rest/api/compute/.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from common.yamlfile import Duration, Problem
from scraper.discovery.azure_resources import (
    Cloud,
    Interface,
    Machine,
    ResourceManager,
    ScaleSet,
    metadata_token,
    resource_group_of,
)
from scraper.discovery.http_api import HTTPAPI, APIConfig, HTTPDiscovery
from scraper.discovery.labels import host_port, prefixed
from scraper.discovery.model import DiscoveryError, Surroundings, TargetGroup
from scraper.http_config import OAuth2, ProxyConfig

log = logging.getLogger(__name__)

PREFIX = "__meta_azure_"

_PUBLIC = Cloud("https://login.microsoftonline.com", "https://management.azure.com")
_GOVERNMENT = Cloud("https://login.microsoftonline.us", "https://management.usgovcloudapi.net")
_CLOUDS = {
    "AZURECHINACLOUD": Cloud("https://login.chinacloudapi.cn", "https://management.chinacloudapi.cn"),
    "AZURECLOUD": _PUBLIC,
    "AZUREGERMANCLOUD": _PUBLIC,
    "AZUREPUBLICCLOUD": _PUBLIC,
    "AZUREUSGOVERNMENT": _GOVERNMENT,
    "AZUREUSGOVERNMENTCLOUD": _GOVERNMENT,
}


class AzureSDConfig(APIConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who asks: an application (OAuth), the machine itself (ManagedIdentity), or who the environment says (SDK)."""

    environment: str = "AzurePublicCloud"
    authentication_method: Literal["OAuth", "ManagedIdentity", "SDK"] = "OAuth"
    subscription_id: str = ""
    tenant_id: str = ""
    client_id: str = ""
    client_secret: str = ""
    resource_group: str = ""
    port: int = 80
    refresh_interval: Duration = Duration(300_000)

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        needed = ["subscription_id"]
        if self.authentication_method == "OAuth":
            needed += ["tenant_id", "client_id", "client_secret"]
        for key in needed:
            if not getattr(self, key):
                yield Problem(f"{path}.{key}", "is missing")
        if self.environment.upper() not in _CLOUDS:
            yield Problem(f"{path}.environment", f"{self.environment!r} is not a cloud like AzurePublicCloud")
        yield from super().problems(path)

    def discoverer(self, surroundings: Surroundings, url: str = "") -> HTTPDiscovery:
        """See SDConfig. With `url` all of Azure is there."""
        cloud = Cloud(url, url, url) if url else _CLOUDS.get(self.environment.upper(), _PUBLIC)
        application = self._application()
        manager = ResourceManager(cloud, self.subscription_id, self.refresh_interval / 1000)

        async def fetch(api: HTTPAPI) -> Sequence[TargetGroup]:
            manager.token = "" if application else await metadata_token(cloud, self.client_id)
            machines = await self._machines(api, manager)
            interfaces = await manager.interfaces(api, machines)
            targets = [self._target(machine, interfaces) for machine in machines]
            return [TargetGroup("azure", [target for target in targets if target])]

        config = self._signed_in(cloud, *application) if application else self
        return HTTPDiscovery("azure", config, surroundings, fetch)

    def _application(self) -> tuple[str, str, str] | None:
        """Tenant, client and secret; None where the machine itself asks."""
        if self.authentication_method == "OAuth":
            return self.tenant_id, self.client_id, self.client_secret
        if self.authentication_method == "SDK":
            tenant = self.tenant_id or os.environ.get("AZURE_TENANT_ID", "")
            client, secret = os.environ.get("AZURE_CLIENT_ID", ""), os.environ.get("AZURE_CLIENT_SECRET", "")
            if tenant and client and secret:
                return tenant, client, secret
        return None

    def _signed_in(self, cloud: Cloud, tenant: str, client: str, secret: str) -> "AzureSDConfig":
        oauth2 = OAuth2(
            client_id=client,
            client_secret=secret,
            token_url=f"{cloud.login}/{tenant}/oauth2/v2.0/token",
            scopes=(f"{cloud.manager}/.default",),
            tls_config=self.tls_config,
            **{key: getattr(self, key) for key in ProxyConfig.__struct_fields__},
        )
        return msgspec.structs.replace(self, oauth2=oauth2)  # which goes before other credentials

    async def _machines(self, api: HTTPAPI, manager: ResourceManager) -> list[Machine]:
        group = f"/resourceGroups/{self.resource_group}" if self.resource_group else ""
        compute = f"{group}/providers/Microsoft.Compute"
        machines = await manager.all(api, f"{compute}/virtualMachines", list[Machine])
        for scale_set in await manager.all(api, f"{compute}/virtualMachineScaleSets", list[ScaleSet]):
            own_group = resource_group_of(scale_set.id)
            path = f"/resourceGroups/{own_group}/providers/Microsoft.Compute/virtualMachineScaleSets/{scale_set.name}"
            for machine in await manager.all(api, f"{path}/virtualMachines", list[Machine]):
                machine.scale_set = scale_set.name
                machines.append(machine)
        return machines

    def _target(self, machine: Machine, interfaces: dict[str, Interface | None]) -> dict[str, str] | None:
        """None for a machine that has no address, as one that is not allocated."""
        for reference in machine.properties.network_profile.network_interfaces:
            interface = interfaces.get(reference.id)
            if interface is None:
                log.warning("a network interface does not exist", extra={"interface": reference.id})
                return None
            if interface.properties is None:
                continue
            if interface.properties.primary is None:
                return None
            configurations = interface.properties.ip_configurations
            if interface.properties.primary and configurations:
                addresses = configurations[0].properties
                if not addresses.private_ip_address:
                    raise DiscoveryError(f"the primary network interface of {machine.name} has no private address")
                return self._labels(machine, addresses.private_ip_address, addresses.public)
        return None

    def _labels(self, machine: Machine, private: str, public: str) -> dict[str, str]:
        properties = machine.properties
        tags = {key: value for key, value in (machine.tags or {}).items() if value is not None}
        return {
            "__address__": host_port(private, self.port),
            f"{PREFIX}subscription_id": self.subscription_id,
            f"{PREFIX}tenant_id": self.tenant_id,
            f"{PREFIX}machine_id": machine.id,
            f"{PREFIX}machine_name": machine.name,
            f"{PREFIX}machine_computer_name": properties.os_profile.computer_name,
            f"{PREFIX}machine_os_type": properties.storage_profile.os_disk.os_type,
            f"{PREFIX}machine_location": machine.location,
            f"{PREFIX}machine_resource_group": resource_group_of(machine.id),
            f"{PREFIX}machine_size": properties.hardware_profile.vm_size,
            f"{PREFIX}machine_scale_set": machine.scale_set,
            f"{PREFIX}machine_private_ip": private,
            f"{PREFIX}machine_public_ip": public,
            **prefixed(f"{PREFIX}machine_tag_", tags),
        }

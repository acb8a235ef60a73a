"""`lightsail_sd_configs`: the Lightsail instances of a region (prometheus discovery/aws/lightsail.go)."""

from collections.abc import Sequence
from typing import Any

from scraper.discovery.aws import AWSConfig, AWSDiscovery, tag_labels
from scraper.discovery.labels import host_port, listed
from scraper.discovery.model import Surroundings

PREFIX = "__meta_lightsail_"

# Label after PREFIX -> member of an instance.
_TEXTS = {
    "blueprint_id": "blueprintId",
    "bundle_id": "bundleId",
    "instance_name": "name",
    "instance_support_code": "supportCode",
    "private_ip": "privateIpAddress",
    "public_ip": "publicIpAddress",
}


class LightsailSDConfig(AWSConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A region."""

    def discoverer(self, surroundings: Surroundings) -> AWSDiscovery:
        """See SDConfig."""
        return AWSDiscovery("lightsail", self, surroundings, self._fetch)

    def _fetch(self, client: Any) -> Sequence[dict[str, str]]:
        region = client.meta.region_name
        return [
            self._target(instance, region)
            for page in client.get_paginator("get_instances").paginate()
            for instance in page.get("instances", ())
            if instance.get("privateIpAddress")
        ]

    def _target(self, instance: dict[str, Any], region: str) -> dict[str, str]:
        ipv6 = instance.get("ipv6Addresses", ())
        return {
            "__address__": host_port(instance["privateIpAddress"], self.port),
            f"{PREFIX}region": region,
            **{f"{PREFIX}{label}": instance.get(member, "") for label, member in _TEXTS.items()},
            f"{PREFIX}availability_zone": instance.get("location", {}).get("availabilityZone", ""),
            f"{PREFIX}instance_state": instance.get("state", {}).get("name", ""),
            f"{PREFIX}ipv6_addresses": listed(ipv6) if ipv6 else "",
            **tag_labels(f"{PREFIX}tag_", instance.get("tags", ())),
        }

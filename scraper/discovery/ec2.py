"""`ec2_sd_configs`: the instances of a region (prometheus discovery/aws/ec2.go)."""

import logging
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

import msgspec

from common.yamlfile import Problem
from scraper.discovery.aws import AWSConfig, AWSDiscovery, tag_labels
from scraper.discovery.labels import host_port, listed
from scraper.discovery.model import Surroundings

log = logging.getLogger(__name__)

PREFIX = "__meta_ec2_"

Labels = dict[str, str]

# Label after PREFIX -> member of an instance.
_TEXTS = {
    "ami": "ImageId",
    "architecture": "Architecture",
    "instance_id": "InstanceId",
    "instance_lifecycle": "InstanceLifecycle",
    "instance_type": "InstanceType",
    "platform": "Platform",
    "private_dns_name": "PrivateDnsName",
    "private_ip": "PrivateIpAddress",
    "public_ip": "PublicIpAddress",
    "vpc_id": "VpcId",
}


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of the filters of DescribeInstances."""

    name: str = ""
    values: tuple[str, ...] = ()


class EC2SDConfig(AWSConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A region, and which of its instances."""

    filters: tuple[Filter, ...] = ()

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        for number, each in enumerate(self.filters):
            if not each.values:
                yield Problem(f"{path}.filters[{number}].values", "is empty")
        yield from super().problems(path)

    def discoverer(self, surroundings: Surroundings) -> AWSDiscovery:
        """See SDConfig."""
        return AWSDiscovery("ec2", self, surroundings, _Instances(self).fetch)


class _Instances:
    """The instances of a region. Its availability zones are asked for until they are known."""

    def __init__(self, config: EC2SDConfig) -> None:
        self._port = config.port
        self._filters = [{"Name": each.name, "Values": list(each.values)} for each in config.filters]
        self._zone_ids: dict[str, str] | None = None

    def fetch(self, client: Any) -> Sequence[Labels]:
        if self._zone_ids is None:
            self._zone_ids = _zone_ids(client)
        return [
            self._target(instance, reservation, client.meta.region_name)
            for page in client.get_paginator("describe_instances").paginate(Filters=self._filters)
            for reservation in page.get("Reservations", ())
            for instance in reservation.get("Instances", ())
            if instance.get("PrivateIpAddress")
        ]

    def _target(self, instance: dict[str, Any], reservation: dict[str, Any], region: str) -> Labels:
        zone = instance.get("Placement", {}).get("AvailabilityZone", "")
        public_dns = instance.get("PublicDnsName", "") if instance.get("PublicIpAddress") else ""
        return {
            "__address__": host_port(instance["PrivateIpAddress"], self._port),
            f"{PREFIX}region": region,
            f"{PREFIX}owner_id": reservation.get("OwnerId", ""),
            **{f"{PREFIX}{label}": instance.get(member, "") for label, member in _TEXTS.items()},
            f"{PREFIX}public_dns_name": public_dns,
            f"{PREFIX}availability_zone": zone,
            f"{PREFIX}availability_zone_id": (self._zone_ids or {}).get(zone, ""),
            f"{PREFIX}instance_state": instance.get("State", {}).get("Name", ""),
            **(_vpc_labels(instance) if instance.get("VpcId") else {}),
            **tag_labels(f"{PREFIX}tag_", instance.get("Tags", ())),
        }


def _zone_ids(client: Any) -> dict[str, str] | None:
    """Ids by names of the zones, None where asking is not allowed: targets are not lost for that."""
    try:
        zones = client.describe_availability_zones()["AvailabilityZones"]
    except import_module("botocore.exceptions").ClientError as error:
        log.debug("availability zones cannot be listed", extra={"error": str(error)})
        return None
    return {zone.get("ZoneName", ""): zone.get("ZoneId", "") for zone in zones}


def _vpc_labels(instance: dict[str, Any]) -> Labels:
    interfaces = [interface for interface in instance.get("NetworkInterfaces", ()) if interface.get("SubnetId")]
    subnets = dict.fromkeys(interface["SubnetId"] for interface in interfaces)
    ipv6 = [entry["Ipv6Address"] for interface in interfaces for entry in interface.get("Ipv6Addresses", ())]
    primary = {
        interface["Attachment"]["DeviceIndex"]: entry["Ipv6Address"]
        for interface in interfaces
        for entry in interface.get("Ipv6Addresses", ())
        if entry.get("IsPrimaryIpv6")
    }
    # The place in the list is the interface's device index.
    by_device = [primary.get(device, "") for device in range(max(primary, default=-1) + 1)]
    return {
        f"{PREFIX}primary_subnet_id": instance.get("SubnetId", ""),
        f"{PREFIX}subnet_id": listed(subnets),
        f"{PREFIX}ipv6_addresses": listed(ipv6) if ipv6 else "",
        f"{PREFIX}primary_ipv6_addresses": listed(by_device) if by_device else "",
    }

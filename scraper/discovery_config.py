"""Where targets come from: the keys that a job and an Alertmanager section share.

The entries of an implemented kind are Structs (scraper.discovery.model.SDConfig). Those of a kind that Prometheus
knows and Fleetwatch does not are accepted as plain mappings, and find no targets. To add a kind, give its field
here the Struct.
"""

from collections.abc import Iterator
from typing import Any

from common.yamlfile import Problem
from scraper.discovery.azure import AzureSDConfig
from scraper.discovery.consul import ConsulSDConfig
from scraper.discovery.digitalocean import DigitalOceanSDConfig
from scraper.discovery.dns import DNSSDConfig
from scraper.discovery.docker import DockerSDConfig
from scraper.discovery.dockerswarm import DockerSwarmSDConfig
from scraper.discovery.ec2 import EC2SDConfig
from scraper.discovery.eureka import EurekaSDConfig
from scraper.discovery.file import FileSDConfig
from scraper.discovery.gce import GCESDConfig
from scraper.discovery.hetzner import HetznerSDConfig
from scraper.discovery.http import HTTPSDConfig
from scraper.discovery.ionos import IONOSSDConfig
from scraper.discovery.kubernetes.config import KubernetesSDConfig
from scraper.discovery.kuma import KumaSDConfig
from scraper.discovery.lightsail import LightsailSDConfig
from scraper.discovery.linode import LinodeSDConfig
from scraper.discovery.marathon import MarathonSDConfig
from scraper.discovery.nomad import NomadSDConfig
from scraper.discovery.openstack import OpenStackSDConfig
from scraper.discovery.ovhcloud import OVHcloudSDConfig
from scraper.discovery.puppetdb import PuppetDBSDConfig
from scraper.discovery.scaleway import ScalewaySDConfig
from scraper.discovery.stackit import StackitSDConfig
from scraper.discovery.static import StaticConfig
from scraper.discovery.triton import TritonSDConfig
from scraper.discovery.uyuni import UyuniSDConfig
from scraper.discovery.vultr import VultrSDConfig
from scraper.http_config import HTTPConfig

Unread = tuple[dict[str, Any], ...]
"""Entries of a kind of discovery that Prometheus knows and Fleetwatch does not."""


class DiscoveryConfig(HTTPConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`static_configs` and the `*_sd_configs`, beside the keys of `http_config`."""

    static_configs: tuple[StaticConfig, ...] = ()
    file_sd_configs: tuple[FileSDConfig, ...] = ()
    azure_sd_configs: tuple[AzureSDConfig, ...] = ()
    consul_sd_configs: tuple[ConsulSDConfig, ...] = ()
    digitalocean_sd_configs: tuple[DigitalOceanSDConfig, ...] = ()
    dns_sd_configs: tuple[DNSSDConfig, ...] = ()
    docker_sd_configs: tuple[DockerSDConfig, ...] = ()
    dockerswarm_sd_configs: tuple[DockerSwarmSDConfig, ...] = ()
    ec2_sd_configs: tuple[EC2SDConfig, ...] = ()
    eureka_sd_configs: tuple[EurekaSDConfig, ...] = ()
    gce_sd_configs: tuple[GCESDConfig, ...] = ()
    hetzner_sd_configs: tuple[HetznerSDConfig, ...] = ()
    http_sd_configs: tuple[HTTPSDConfig, ...] = ()
    ionos_sd_configs: tuple[IONOSSDConfig, ...] = ()
    kubernetes_sd_configs: tuple[KubernetesSDConfig, ...] = ()
    kuma_sd_configs: tuple[KumaSDConfig, ...] = ()
    lightsail_sd_configs: tuple[LightsailSDConfig, ...] = ()
    linode_sd_configs: tuple[LinodeSDConfig, ...] = ()
    marathon_sd_configs: tuple[MarathonSDConfig, ...] = ()
    nomad_sd_configs: tuple[NomadSDConfig, ...] = ()
    openstack_sd_configs: tuple[OpenStackSDConfig, ...] = ()
    ovhcloud_sd_configs: tuple[OVHcloudSDConfig, ...] = ()
    puppetdb_sd_configs: tuple[PuppetDBSDConfig, ...] = ()
    scaleway_sd_configs: tuple[ScalewaySDConfig, ...] = ()
    stackit_sd_configs: tuple[StackitSDConfig, ...] = ()
    triton_sd_configs: tuple[TritonSDConfig, ...] = ()
    uyuni_sd_configs: tuple[UyuniSDConfig, ...] = ()
    vultr_sd_configs: tuple[VultrSDConfig, ...] = ()
    # Known to Prometheus, not acted on.
    nerve_sd_configs: Unread = ()
    serverset_sd_configs: Unread = ()


_SD_KEYS = tuple(key for key in DiscoveryConfig.__struct_fields__ if key.endswith("_sd_configs"))


def discovery_problems(config: DiscoveryConfig, path: str, relabelled: bool) -> Iterator[Problem]:
    """What is wrong beyond the types of the fields; `relabelled` targets need not be a host and port yet."""
    for number, static in enumerate(config.static_configs):
        where = f"{path}.static_configs[{number}]"
        if "" in static.labels:
            yield Problem(f"{where}.labels", "a label has no name")
        for address in static.targets:
            if "/" in address and not relabelled:
                yield Problem(f"{where}.targets", f"{address!r} is not a host and port: leave out scheme and path")
    for key in _SD_KEYS:
        for number, entry in enumerate(getattr(config, key)):
            if not isinstance(entry, dict):
                yield from entry.problems(f"{path}.{key}[{number}]")


def unread_discovery(config: DiscoveryConfig) -> list[str]:
    """The keys that the file gives and that find no targets."""
    return [key for key in _SD_KEYS if any(isinstance(entry, dict) for entry in getattr(config, key))]

"""Which discoverers a job has. A new kind of discovery is a module and a line here.

The table does not know `scraper.config` or `scraper.discovery_config`: those import the Structs from the modules
here, and have fields of the table's keys. `SD_CONFIGS[key]` is the type of the list's entries.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry

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
from scraper.discovery.metrics import DiscoveryMetrics
from scraper.discovery.model import Discoverer, SDConfig, Surroundings
from scraper.discovery.nomad import NomadSDConfig
from scraper.discovery.openstack import OpenStackSDConfig
from scraper.discovery.ovhcloud import OVHcloudSDConfig
from scraper.discovery.puppetdb import PuppetDBSDConfig
from scraper.discovery.scaleway import ScalewaySDConfig
from scraper.discovery.stackit import StackitSDConfig
from scraper.discovery.static import StaticConfig, StaticDiscovery
from scraper.discovery.triton import TritonSDConfig
from scraper.discovery.uyuni import UyuniSDConfig
from scraper.discovery.vultr import VultrSDConfig
from scraper.discovery.watch import DirectoryWatcher

SD_CONFIGS: Mapping[str, type[SDConfig]] = {
    "azure_sd_configs": AzureSDConfig,
    "consul_sd_configs": ConsulSDConfig,
    "digitalocean_sd_configs": DigitalOceanSDConfig,
    "dns_sd_configs": DNSSDConfig,
    "docker_sd_configs": DockerSDConfig,
    "dockerswarm_sd_configs": DockerSwarmSDConfig,
    "ec2_sd_configs": EC2SDConfig,
    "eureka_sd_configs": EurekaSDConfig,
    "file_sd_configs": FileSDConfig,
    "gce_sd_configs": GCESDConfig,
    "hetzner_sd_configs": HetznerSDConfig,
    "http_sd_configs": HTTPSDConfig,
    "ionos_sd_configs": IONOSSDConfig,
    "kubernetes_sd_configs": KubernetesSDConfig,
    "kuma_sd_configs": KumaSDConfig,
    "lightsail_sd_configs": LightsailSDConfig,
    "linode_sd_configs": LinodeSDConfig,
    "marathon_sd_configs": MarathonSDConfig,
    "nomad_sd_configs": NomadSDConfig,
    "openstack_sd_configs": OpenStackSDConfig,
    "ovhcloud_sd_configs": OVHcloudSDConfig,
    "puppetdb_sd_configs": PuppetDBSDConfig,
    "scaleway_sd_configs": ScalewaySDConfig,
    "stackit_sd_configs": StackitSDConfig,
    "triton_sd_configs": TritonSDConfig,
    "uyuni_sd_configs": UyuniSDConfig,
    "vultr_sd_configs": VultrSDConfig,
}
"""The Struct of each `*_sd_configs` key of a scrape config."""

SourceConfig = tuple[StaticConfig, ...] | SDConfig
"""What one discoverer is made of; an unchanged one keeps running over a reload."""


def source_configs(job: object) -> Iterator[SourceConfig]:
    """The sources of a job (a ScrapeConfig, or a part of one); all static groups are one."""
    yield getattr(job, "static_configs", ())
    for key, config_type in SD_CONFIGS.items():
        for config in getattr(job, key, None) or ():
            if isinstance(config, config_type):
                yield config


def discoverer(
    config: SourceConfig, directory: Path, watcher: DirectoryWatcher, metrics: DiscoveryMetrics | None = None
) -> Discoverer:
    """The discoverer of a source; relative files start at `directory`."""
    if isinstance(config, tuple):
        return StaticDiscovery(config)
    return config.discoverer(Surroundings(directory, watcher, metrics or DiscoveryMetrics(CollectorRegistry())))

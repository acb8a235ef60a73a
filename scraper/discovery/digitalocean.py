"""`digitalocean_sd_configs`: droplets (prometheus discovery/digitalocean).

See https://docs.digitalocean.com/reference/api/digitalocean/#tag/Droplets/operation/droplets_list.
"""

import itertools
from collections.abc import Sequence

import msgspec

from scraper.discovery.http_api import HTTPAPI, APIConfig, HTTPDiscovery
from scraper.discovery.labels import host_port, listed
from scraper.discovery.model import Surroundings, TargetGroup

API_URL = "https://api.digitalocean.com"
PER_PAGE = 200

PREFIX = "__meta_digitalocean_"


class DigitalOceanSDConfig(APIConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The token is given as `authorization`."""

    port: int = 80

    def discoverer(self, surroundings: Surroundings, url: str = API_URL) -> HTTPDiscovery:
        """See SDConfig."""
        return HTTPDiscovery("digitalocean", self, surroundings, lambda api: self._groups(api, url))

    async def _groups(self, api: HTTPAPI, url: str) -> Sequence[TargetGroup]:
        droplets: list[_Droplet] = []
        for number in itertools.count(1):
            params = [("page", str(number)), ("per_page", str(PER_PAGE))]
            page = await api.json(f"{url}/v2/droplets", _Page, params=params)
            droplets += page.droplets
            if not page.links.pages.next:
                break
        return [TargetGroup("DigitalOcean", [self._target(droplet) for droplet in droplets if droplet.networks.v4])]

    def _target(self, droplet: "_Droplet") -> dict[str, str]:
        v4, v6 = droplet.networks.v4 or (), droplet.networks.v6 or ()
        public_ipv4 = _first(v4, "public")
        return {
            "__address__": host_port(public_ipv4, self.port),
            f"{PREFIX}droplet_id": str(droplet.id),
            f"{PREFIX}droplet_name": droplet.name,
            f"{PREFIX}image": droplet.image.slug or "",
            f"{PREFIX}image_name": droplet.image.name or "",
            f"{PREFIX}private_ipv4": _first(v4, "private"),
            f"{PREFIX}public_ipv4": public_ipv4,
            f"{PREFIX}public_ipv6": _first(v6, "public"),
            f"{PREFIX}region": droplet.region.slug,
            f"{PREFIX}size": droplet.size_slug,
            f"{PREFIX}status": droplet.status,
            f"{PREFIX}vpc": droplet.vpc_uuid or "",
            f"{PREFIX}features": listed(droplet.features) if droplet.features else "",
            f"{PREFIX}tags": listed(droplet.tags) if droplet.tags else "",
        }


def _first(addresses: Sequence["_Address"], type_: str) -> str:
    return next((address.ip_address for address in addresses if address.type == type_), "")


class _Address(msgspec.Struct):
    ip_address: str = ""
    type: str = ""


class _Networks(msgspec.Struct):
    v4: list[_Address] | None = None
    v6: list[_Address] | None = None


class _Image(msgspec.Struct):
    slug: str | None = None
    name: str | None = None


class _Region(msgspec.Struct):
    slug: str = ""


class _Droplet(msgspec.Struct):
    id: int
    name: str
    image: _Image = msgspec.field(default_factory=_Image)
    region: _Region = msgspec.field(default_factory=_Region)
    networks: _Networks = msgspec.field(default_factory=_Networks)
    size_slug: str = ""
    status: str = ""
    vpc_uuid: str | None = None
    features: list[str] | None = None
    tags: list[str] | None = None


class _Pages(msgspec.Struct):
    next: str = ""


class _Links(msgspec.Struct):
    pages: _Pages = msgspec.field(default_factory=_Pages)


class _Page(msgspec.Struct):
    droplets: list[_Droplet]
    links: _Links = msgspec.field(default_factory=_Links)

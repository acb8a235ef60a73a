"""Which proxy a request goes through: `proxy_url` with `no_proxy`, or what the environment says.

Follows golang.org/x/net/http/httpproxy.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from yarl import URL

from scraper.http_config import ProxyConfig

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class _Exception:
    """One entry of a NO_PROXY list; exactly one of network and domain is given, port empty for any."""

    network: IPNetwork | None = None
    domain: str = ""
    subdomains_only: bool = False
    port: str = ""

    def matches(self, host: str, address: IPAddress | None, port: str) -> bool:
        if self.port and self.port != port:
            return False
        if self.network is not None:
            return address is not None and address in self.network
        return host.endswith(f".{self.domain}") or (host == self.domain and not self.subdomains_only)


class NoProxy:
    """A NO_PROXY list: hosts, `.domain` and `*.domain`, addresses, networks, each but networks with a port, or `*`."""

    def __init__(self, text: str) -> None:
        entries = [entry.strip().lower() for entry in text.split(",")]
        self._all = "*" in entries
        self._exceptions = [exception for entry in entries if (exception := _parse(entry))]

    def exempts(self, url: URL) -> bool:
        """Whether requests to the URL go straight to its host; those to this machine itself always do."""
        host = (url.host or "").lower()
        address = _address(host)
        if self._all or host == "localhost" or (address is not None and address.is_loopback):
            return True
        return any(exception.matches(host, address, str(url.port)) for exception in self._exceptions)


class ProxyChoice:
    """Chooses the proxy for each URL; `environment` is that of the process."""

    def __init__(self, config: ProxyConfig, environment: Mapping[str, str]) -> None:
        self.connect_headers = [
            (name, value) for name, values in config.proxy_connect_header.items() for value in values
        ]
        self._no_proxy: NoProxy | None = None
        self._proxies: dict[str, URL] = {}
        if config.proxy_from_environment:
            self._no_proxy = NoProxy(_variable(environment, "NO_PROXY"))
            for scheme in ("http", "https"):
                if proxy := _variable(environment, f"{scheme.upper()}_PROXY"):
                    self._proxies[scheme] = _proxy_url(proxy)
        elif config.proxy_url:
            # Without exceptions Prometheus goes through the proxy even to this machine itself.
            self._no_proxy = NoProxy(config.no_proxy) if config.no_proxy else None
            self._proxies = dict.fromkeys(("http", "https"), _proxy_url(config.proxy_url))

    def proxy_for(self, url: URL) -> URL | None:
        """The proxy's URL, None for a direct connection."""
        proxy = self._proxies.get(url.scheme)
        if proxy is None or (self._no_proxy is not None and self._no_proxy.exempts(url)):
            return None
        return proxy


def _parse(entry: str) -> _Exception | None:
    try:
        if "/" in entry:
            return _Exception(network=ipaddress.ip_network(entry, strict=False))
    except ValueError:
        return None
    host, port = entry, ""
    if entry.startswith("[") or entry.count(":") == 1:
        host, _, port = entry.rpartition(":") if not entry.endswith("]") else (entry, "", "")
        host = host.removeprefix("[").removesuffix("]")
    if address := _address(host):
        return _Exception(network=ipaddress.ip_network(address), port=port)
    domain = host.removeprefix("*").removeprefix(".") if host.startswith(("*.", ".")) else host
    return _Exception(domain=domain, subdomains_only=domain != host, port=port) if domain else None


def _address(host: str) -> IPAddress | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _variable(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name, "") or environment.get(name.lower(), "")


def _proxy_url(text: str) -> URL:
    """Raises ValueError where the text has no usable host and port."""
    url = URL(text if "://" in text else f"http://{text}")
    if not url.host or url.port == 0:  # yarl looks at the port when it is asked for it
        raise ValueError(f"{text!r} names no host")
    return url

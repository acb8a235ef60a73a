"""`dns_sd_configs`: targets from DNS records (prometheus discovery/dns).

A name is looked up as the host's resolver would: nameservers, search domains and ndots of /etc/resolv.conf, which is
read anew each time. It has no targets when every variant of it is answered with "no such name"; where a server failed
and no variant was found, nothing is known and the name's last targets stay.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver
import msgspec

from common.errors import FleetwatchError
from common.yamlfile import Duration, Problem
from scraper.discovery.labels import host_port
from scraper.discovery.model import DiscoveryError, Publish, Surroundings, TargetGroup
from scraper.discovery.refresh import Failures, refresh

TYPES = ("A", "AAAA", "MX", "NS", "SRV")

_EDNS_PAYLOAD_BYTES = 1232


class DNSSDConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Names to look up; `port` goes with every record type but SRV, which has its own."""

    names: tuple[str, ...] = ()
    type: str = "SRV"
    port: int = 0
    refresh_interval: Duration = Duration(30_000)

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        if not self.names:
            yield Problem(f"{path}.names", "names nothing to look up")
        if self.type.upper() not in TYPES:
            yield Problem(f"{path}.type", f"{self.type!r} is not one of {', '.join(TYPES)}")
        elif self.type.upper() != "SRV" and not self.port:
            yield Problem(f"{path}.port", "is needed for all record types but SRV")
        if not self.refresh_interval:
            yield Problem(f"{path}.refresh_interval", "must be longer than 0")

    def discoverer(self, surroundings: Surroundings) -> "DNSDiscovery":
        """See SDConfig."""
        return DNSDiscovery(self, surroundings)


def system_resolver() -> dns.asyncresolver.Resolver:
    """What /etc/resolv.conf says. Raises dns.exception.DNSException where it cannot be used."""
    resolver = dns.asyncresolver.Resolver()
    resolver.use_edns(0, 0, _EDNS_PAYLOAD_BYTES)
    return resolver


class DNSDiscovery:
    """Publishes one group for each name."""

    def __init__(
        self,
        config: DNSSDConfig,
        surroundings: Surroundings,
        open_resolver: Callable[[], dns.asyncresolver.Resolver] = system_resolver,
    ) -> None:
        self._config = config
        self._metrics = surroundings.metrics
        self._open_resolver = open_resolver
        self._groups: dict[str, TargetGroup] = {}
        self._failures = {name: Failures("dns", self._metrics) for name in config.names}

    async def run(self, publish: Publish) -> None:
        """See Discoverer."""
        await refresh("dns", self._config.refresh_interval, self._fetch, publish, self._metrics)

    async def _fetch(self) -> Sequence[TargetGroup]:
        try:
            resolver = await asyncio.to_thread(self._open_resolver)
        except dns.exception.DNSException as error:
            raise DiscoveryError(f"/etc/resolv.conf cannot be used: {error}") from error
        names = self._config.names
        answers = await asyncio.gather(*(self._lookup(resolver, name) for name in names))
        if all(isinstance(answer, DiscoveryError) for answer in answers):
            raise DiscoveryError("; ".join(str(answer) for answer in answers))
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, DiscoveryError):
                self._failures[name].failed(answer)
            else:
                self._failures[name].succeeded()
                self._groups[name] = answer
        return [self._groups[name] for name in names if name in self._groups]

    async def _lookup(self, resolver: dns.asyncresolver.Resolver, name: str) -> TargetGroup | DiscoveryError:
        try:
            records = await lookup(resolver, name, self._config.type)
        except FleetwatchError as error:
            return DiscoveryError(str(error))
        # Name servers turn the order about with each answer, which is no change.
        targets = [self._target(name, record) for record in records]
        return TargetGroup(name, sorted(targets, key=itemgetter("__address__")))

    def _target(self, name: str, record: Any) -> dict[str, str]:
        labels = {"__meta_dns_name": name}
        port = self._config.port
        match record.rdtype:
            case dns.rdatatype.SRV:
                host, port = record.target.to_text(), record.port
                labels |= {"__meta_dns_srv_record_target": host, "__meta_dns_srv_record_port": str(port)}
            case dns.rdatatype.MX:
                host = record.exchange.to_text()
                labels["__meta_dns_mx_record_target"] = host
            case dns.rdatatype.NS:
                host = record.target.to_text()
                labels["__meta_dns_ns_record_target"] = host
            case _:
                host = record.address
        return {"__address__": host_port(host.rstrip("."), port), **labels}


async def lookup(resolver: dns.asyncresolver.Resolver, name: str, type_: str) -> list[Any]:
    """The records of a name; none where it does not exist or has none of the type.

    Raises DiscoveryError where that cannot be known.
    """
    problem = ""
    try:
        variants = _variants(resolver, dns.name.from_text(name, origin=None))
    except dns.exception.DNSException as error:
        raise DiscoveryError(f"{name!r} is not a DNS name: {error}") from error
    for variant in variants:
        try:
            answer = await resolver.resolve(variant, type_, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            continue
        except (dns.exception.DNSException, OSError) as error:
            problem = problem or f"looking up {variant} {type_} failed: {error}"
        else:
            return list(answer.rrset or ())
    if problem:
        raise DiscoveryError(problem)
    return []


def _variants(resolver: dns.asyncresolver.Resolver, name: dns.name.Name) -> list[dns.name.Name]:
    """The absolute names to try: with fewer dots than ndots the search domains come first (resolv.conf(5))."""
    if name.is_absolute():
        return [name]
    searched = [name + domain for domain in resolver.search]
    itself = name + dns.name.root
    ndots = 1 if resolver.ndots is None else resolver.ndots
    return [itself, *searched] if len(name) - 1 >= ndots else [*searched, itself]

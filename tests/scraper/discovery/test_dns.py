"""DNS discovery against a real name server on loopback, over UDP and TCP."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import dns.asyncresolver
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest

from common.yamlfile import Duration
from scraper.discovery.dns import DNSDiscovery, DNSSDConfig
from scraper.discovery.model import Surroundings
from tests.scraper.discovery.discovering import REFRESH_MS, Published, failures, running, surroundings
from tests.scraper.targets import eventually


@dataclass
class Zone:
    """What a name server knows: records as `name type` -> texts; names in `failing` get SERVFAIL."""

    records: dict[str, list[str]] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    truncate: bool = False
    port: int = 0

    def answer(self, wire: bytes, over_udp: bool) -> bytes:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, type_ = question.name.to_text(), question.rdtype.name
        self.asked.append(f"{name} {type_} {'udp' if over_udp else 'tcp'}")
        response = dns.message.make_response(query)
        if name in self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif not any(key.split()[0] == name for key in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif self.truncate and over_udp:
            response.flags |= dns.flags.TC
        else:
            self._add(response, name, type_)
        return response.to_wire()

    def _add(self, response: dns.message.Message, name: str, type_: str) -> None:
        if alias := self.records.get(f"{name} CNAME"):
            response.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", *alias))
            name = alias[0]
        if texts := self.records.get(f"{name} {type_}"):
            response.answer.append(dns.rrset.from_text(name, 60, "IN", type_, *texts))


class _UDP(asyncio.DatagramProtocol):
    def __init__(self, zone: Zone) -> None:
        self.zone = zone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(self.zone.answer(data, over_udp=True), addr)


@asynccontextmanager
async def name_server(zone: Zone) -> AsyncIterator[Zone]:
    async def over_tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (size,) = struct.unpack("!H", await reader.readexactly(2))
        answer = zone.answer(await reader.readexactly(size), over_udp=False)
        writer.write(struct.pack("!H", len(answer)) + answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(over_tcp, "127.0.0.1", 0)
    zone.port = server.sockets[0].getsockname()[1]
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _UDP(zone), local_addr=("127.0.0.1", zone.port)
    )
    try:
        yield zone
    finally:
        transport.close()
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def discovering(
    zone: Zone, *names: str, type_: str = "A", search: tuple[str, ...] = (), around: Surroundings | None = None
) -> AsyncIterator[Published]:
    def open_resolver() -> dns.asyncresolver.Resolver:
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers, resolver.port, resolver.lifetime = ["127.0.0.1"], zone.port, 1.0
        resolver.search = [dns.name.from_text(domain) for domain in search]
        return resolver

    config = DNSSDConfig(names=names, type=type_, port=9100, refresh_interval=Duration(REFRESH_MS))
    async with running(DNSDiscovery(config, around or surroundings(), open_resolver)) as published:
        yield published


RECORDS = {
    "web.test. A": ["10.0.0.1", "10.0.0.2"],
    "web.test. AAAA": ["2001:db8::1"],
    "alias.test. CNAME": ["web.test."],
    "test. MX": ["10 mail.test."],
    "test. NS": ["ns.test."],
    "_http._tcp.test. SRV": ["1 1 8080 one.test.", "1 1 8081 two.test."],
}


@pytest.mark.parametrize(
    ("name", "type_", "expected"),
    [
        ("web.test", "A", [{"__address__": "10.0.0.1:9100"}, {"__address__": "10.0.0.2:9100"}]),
        ("web.test.", "a", [{"__address__": "10.0.0.1:9100"}, {"__address__": "10.0.0.2:9100"}]),
        ("alias.test", "A", [{"__address__": "10.0.0.1:9100"}, {"__address__": "10.0.0.2:9100"}]),
        ("web.test", "AAAA", [{"__address__": "[2001:db8::1]:9100"}]),
        ("test", "MX", [{"__address__": "mail.test:9100", "__meta_dns_mx_record_target": "mail.test."}]),
        ("test", "NS", [{"__address__": "ns.test:9100", "__meta_dns_ns_record_target": "ns.test."}]),
        (
            "_http._tcp.test",
            "SRV",
            [
                {
                    "__address__": f"{host}:{port}",
                    "__meta_dns_srv_record_target": f"{host}.",
                    "__meta_dns_srv_record_port": port,
                }
                for host, port in (("one.test", "8080"), ("two.test", "8081"))
            ],
        ),
        ("web.test", "SRV", []),
        ("nowhere.test", "A", []),
    ],
)
async def test_record_types(name: str, type_: str, expected: list[dict[str, str]]) -> None:
    async with name_server(Zone(dict(RECORDS))) as zone, discovering(zone, name, type_=type_) as published:
        await eventually(lambda: published.times > 0)
        assert [group.source for group in published.groups] == [name]
        assert published.targets == [{**target, "__meta_dns_name": name} for target in expected]


async def test_changes_are_seen() -> None:
    async with name_server(Zone(dict(RECORDS))) as zone, discovering(zone, "web.test") as published:
        await eventually(lambda: published.addresses == ["10.0.0.1:9100", "10.0.0.2:9100"])
        zone.records["web.test. A"] = ["10.0.0.3"]
        await eventually(lambda: published.addresses == ["10.0.0.3:9100"])
        del zone.records["web.test. A"], zone.records["web.test. AAAA"]
        await eventually(lambda: published.addresses == [])


async def test_a_truncated_answer_is_asked_for_over_tcp() -> None:
    zone = Zone({"many.test. A": [f"10.1.{number // 250}.{number % 250}" for number in range(2000)]}, truncate=True)
    async with name_server(zone), discovering(zone, "many.test") as published:
        await eventually(lambda: len(published.targets) == 2000)
        assert zone.asked[:2] == ["many.test. A udp", "many.test. A tcp"]


async def test_a_name_that_cannot_be_looked_up_keeps_its_targets(caplog: pytest.LogCaptureFixture) -> None:
    around = surroundings()
    zone = Zone({"one.test. A": ["10.0.0.1"], "two.test. A": ["10.0.0.2"]})
    async with name_server(zone), discovering(zone, "one.test", "two.test", around=around) as published:
        await eventually(lambda: published.addresses == ["10.0.0.1:9100", "10.0.0.2:9100"])
        zone.failing.add("one.test.")
        zone.records["two.test. A"] = ["10.0.0.3"]
        await eventually(lambda: published.addresses == ["10.0.0.1:9100", "10.0.0.3:9100"])
        before = published.times
        await eventually(lambda: published.times > before + 2)
        assert failures(around, "dns") >= 2
        warnings = [record for record in caplog.records if record.levelname == "WARNING"]
        assert len(warnings) == 1
        assert "one.test. A failed" in vars(warnings[0])["error"]


async def test_nothing_is_published_before_any_name_is_known() -> None:
    around = surroundings()
    zone = Zone(failing={"one.test."})
    async with name_server(zone), discovering(zone, "one.test", around=around) as published:
        await eventually(lambda: failures(around, "dns") >= 1)
        assert published.times == 0


async def test_search_domains() -> None:
    zone = Zone({"web.b.test. A": ["10.0.0.1"], "web.other. A": ["10.0.0.2"]})
    async with name_server(zone):
        async with discovering(zone, "web", search=("a.test", "b.test")) as published:
            await eventually(lambda: published.addresses == ["10.0.0.1:9100"])
            assert zone.asked[:2] == ["web.a.test. A udp", "web.b.test. A udp"]
        zone.asked.clear()
        async with discovering(zone, "web.other", search=("a.test",)) as published:
            await eventually(lambda: published.addresses == ["10.0.0.2:9100"])
            assert zone.asked[0] == "web.other. A udp"
        zone.failing = {"web.a.test."}
        async with discovering(zone, "web", search=("a.test", "b.test")) as published:
            await eventually(lambda: published.addresses == ["10.0.0.1:9100"])


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (DNSSDConfig(names=("a",)), []),
        (DNSSDConfig(names=("a",), type="mx", port=1), []),
        (DNSSDConfig(), ["x.names"]),
        (DNSSDConfig(names=("a",), type="A"), ["x.port"]),
        (DNSSDConfig(names=("a",), type="TXT"), ["x.type"]),
    ],
)
def test_problems(config: DNSSDConfig, expected: list[str]) -> None:
    assert [problem.key_path for problem in config.problems("x")] == expected

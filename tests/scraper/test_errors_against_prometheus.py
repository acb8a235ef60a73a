"""What is said of scrapes that fail, and how many samples are reported: the words and numbers of a live Prometheus."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from common.labels import METRIC_NAME
from common.yamlfile import loads
from scraper.config import ScrapeSettings
from scraper.manager import ScrapeManager
from tests.scraper.failing_targets import (
    ANSWERS,
    BROKEN_BODIES,
    CONTENT_TYPES,
    LIMITS,
    NO_SERVER,
    NOT_VERIFIED,
    SIZES,
    Case,
)
from tests.scraper.http_servers import Authority, Proxy, RawServer, proxy_server, raw_server, web_server
from tests.scraper.targets import eventually, read_series
from tests.scraper.test_against_prometheus import ask, prometheus, require_version_3, run
from tsdb import open_store


async def hello(_: web.Request) -> web.StreamResponse:
    return web.Response(text="a 1\n")


@asynccontextmanager
async def tls_cases(directory: Path) -> AsyncIterator[list[Case]]:
    authority = Authority(directory)
    trusting = f'ca_file: "{authority.ca}"'
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    cert, key = authority.issue("expired")
    sign = "x509 -req -in expired.csr -CA ca.pem -CAkey ca.key -CAcreateserial -copy_extensions copy -days -1"
    await run("openssl", *sign.split(), "-out", cert.name, cwd=directory)
    server.load_cert_chain(cert, key)
    async with (
        web_server(hello, authority.server_context()) as good,
        web_server(hello, authority.server_context("other", "DNS:a.example,DNS:b.example")) as named,
        web_server(hello, server) as expired,
        web_server(hello) as plain,
        proxy_server(Proxy(refuses=407)) as proxy,
    ):
        yield [
            Case("trusted", good, "", job=f"scheme: https, tls_config: {{{trusting}}}", counted=(1, 1)),
            Case("not trusted", good, NOT_VERIFIED + "certificate signed by unknown authority", "scheme: https"),
            Case(
                "for others",
                named,
                NOT_VERIFIED + "certificate is valid for a.example, b.example, not c.example",
                f"scheme: https, tls_config: {{{trusting}, server_name: c.example}}",
                ours=NOT_VERIFIED + "certificate is not valid for c.example",
            ),
            Case(
                "expired",
                expired,
                NOT_VERIFIED + "certificate has expired or is not yet valid: current time TIME is after TIME",
                f"scheme: https, tls_config: {{{trusting}}}",
                ours=NOT_VERIFIED + "certificate has expired or is not yet valid",
            ),
            Case(
                "https of http",
                plain,
                'Get "URL": http: server gave HTTP response to HTTPS client',
                "scheme: https",
                ours='Get "URL": tls: first record does not look like a TLS handshake',
            ),
            Case(
                "a tunnel refused",
                "a.invalid:1",
                'Get "URL": No',
                f'scheme: https, proxy_url: "http://{proxy.address}"',
            ),
        ]


@asynccontextmanager
async def all_cases(directory: Path) -> AsyncIterator[tuple[dict[str, tuple[Case, str]], str]]:
    """The cases and the addresses of their targets by job, and the config."""
    async with AsyncExitStack() as servers:
        cases = [*NO_SERVER, *ANSWERS, *SIZES, *CONTENT_TYPES, *LIMITS, *BROKEN_BODIES]
        cases += await servers.enter_async_context(tls_cases(directory))
        jobs: dict[str, tuple[Case, str]] = {}
        for number, case in enumerate(cases):
            address = case.target
            if isinstance(address, RawServer):
                copy = RawServer(address.pieces, address.closes, address.resets, address.hangs)
                address = (await servers.enter_async_context(raw_server(copy))).address
            jobs[f"job{number}"] = (case, address)
        yield (
            jobs,
            "global: {scrape_interval: 1s, scrape_timeout: 500ms}\nscrape_configs:\n"
            + "".join(
                f"  - {{job_name: {job}, static_configs: [{{targets: ['{address}']}}]"
                f"{', ' if case.job else ''}{case.job}}}\n"
                for job, (case, address) in jobs.items()
            ),
        )


Found = dict[str, tuple[str, str, tuple[int, int]]]
"""By job: the URL, the error, and how many samples were scraped and kept."""


def compare(jobs: dict[str, tuple[Case, str]], found: Found, *, ours: bool) -> None:
    different = []
    for job, (case, address) in jobs.items():
        url, error, counted = found[job]
        expected = case.error if case.ours is None or not ours else case.ours
        expected = expected.replace("URL", url).replace("ADDRESS", address)
        pattern = re.escape(expected).replace("TIME", r"\S+").replace("NAMESERVER", r"\S+")
        # Where our words differ, what they begin with is told.
        match = re.match if ours and case.ours is not None else re.fullmatch
        if not match(pattern, error) or counted != case.counted:
            different.append((case.name, expected, case.counted, error, counted))
    assert different == []


def last_scrapes(manager: ScrapeManager) -> dict[str, int | None]:
    return {target.scrape_pool: target.last_scrape_ms for target in manager.active_targets()}


def all_scraped_since(manager: ScrapeManager, earlier: dict[str, int | None]) -> bool:
    return all(last != earlier[job] for job, last in last_scrapes(manager).items())


async def test_ours(tmp_path: Path) -> None:
    async with all_cases(tmp_path) as (jobs, config):
        store = open_store("memory:")
        manager = ScrapeManager(store)
        await manager.apply(loads(config, ScrapeSettings))
        try:
            await eventually(lambda: len(manager.active_targets()) == len(jobs))
            # What fails for another reason at the first scrape does not at the second.
            for _ in range(2):
                await eventually(partial(all_scraped_since, manager, last_scrapes(manager)))
            counts = {
                (labels.get("job"), labels.get(METRIC_NAME)): samples[-1][1]
                for labels, samples in read_series(store).items()
            }
            found = {
                target.scrape_pool: (
                    target.scrape_url,
                    target.last_error,
                    (
                        int(counts[target.scrape_pool, "scrape_samples_scraped"]),
                        int(counts[target.scrape_pool, "scrape_samples_post_metric_relabeling"]),
                    ),
                )
                for target in manager.active_targets()
            }
        finally:
            await manager.stop()
            store.close()
        compare(jobs, found, ours=True)


async def scraped_three_times(session: aiohttp.ClientSession, count: int) -> list[dict[str, Any]]:
    """Prometheus's targets: what a scrape stores can be read when a later one has ended."""
    last: dict[str, set[str]] = {}
    for _ in range(300):
        targets: list[dict[str, Any]] = (await ask(session, "targets"))["activeTargets"]
        for target in targets:
            if target["health"] != "unknown":
                last.setdefault(target["scrapePool"], set()).add(target["lastScrape"])
        if len(last) == count and all(len(times) >= 3 for times in last.values()):
            return targets
        await asyncio.sleep(0.1)
    raise AssertionError(f"not scraped three times in 30 s: {[job for job, times in last.items() if len(times) < 3]}")


async def test_theirs(tmp_path: Path) -> None:
    await require_version_3()
    async with all_cases(tmp_path) as (jobs, config), prometheus(config, tmp_path) as session:
        targets = await scraped_three_times(session, len(jobs))
        counts = {}
        for name in ("scrape_samples_scraped", "scrape_samples_post_metric_relabeling"):
            for entry in (await ask(session, "query", query=name))["result"]:
                counts[entry["metric"]["job"], name] = int(entry["value"][1])
        found = {
            target["scrapePool"]: (
                target["scrapeUrl"],
                target["lastError"],
                (
                    counts[target["scrapePool"], "scrape_samples_scraped"],
                    counts[target["scrapePool"], "scrape_samples_post_metric_relabeling"],
                ),
            )
            for target in targets
        }
        compare(jobs, found, ours=False)

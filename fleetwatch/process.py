"""A process: its parts composed, started, reloaded and stopped.

Start order is store, exporter, HTTP server, scraper, so that what fails does so before anything is scraped; the stop
goes the other way. SIGTERM and SIGINT stop, SIGHUP reloads the config file.
"""

import asyncio
import contextlib
import gc
import logging
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import typer
import uvloop
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, GCCollector, PlatformCollector, disable_created_metrics

from common.durations import format_duration
from common.errors import FleetwatchError
from common.sd_notify import ServiceManager
from exporter.app import create_app as create_exporter_app
from fleetwatch import __version__
from fleetwatch.config import LoadedConfig, default_config, ignored_keys, load_config
from fleetwatch.listen import allow_open_files, load_web_config, serve, shown_url, stop_signal
from fleetwatch.opening import StorePlace, open_configured, store_place
from fleetwatch.query_config import QueryFlags
from promql import Engine, EngineOptions
from promql.cache import RangeCache
from promql.memory import MemoryBudget
from scraper.inventory import Inventory
from scraper.manager import ScrapeManager
from server.app import create_app, make_runner
from server.deps import BuildInfo, ConfigStatus, Dependencies
from server.query_log import QueryLog
from tsdb import Store
from tsdb.dsn import shown_dsn

log = logging.getLogger(__name__)

MAINTENANCE_INTERVAL_S = 30

# Of the garbage collector: a full collection walks everything that the store holds, with the event loop stopped. What
# scrapes and queries leave is freed by counting references; cycles are few.
_GC_THRESHOLDS = (50_000, 20, 1000)


@dataclass(frozen=True, slots=True)
class Parts:
    """Which parts a process has. The API, the web page and `/metrics` belong to every one.

    With `head` the newest samples are in its memory, those of other processes too: for one that is asked much.
    """

    scraper: bool
    exporter: bool
    head: bool = True


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says; `storage_path` overrides the config file."""

    config_file: Path | None
    listen_address: str
    web_config_file: str
    storage_path: str | None
    external_url: str = ""
    enable_admin_api: bool = False
    query: QueryFlags = field(default_factory=QueryFlags)


class Process:
    """One process from its start to its end; `run` is its life."""

    def __init__(self, parts: Parts, flags: Flags) -> None:
        self._parts = parts
        self._config_file = flags.config_file
        self._listen_address = flags.listen_address
        self._web_config_file = flags.web_config_file
        self._storage_path = flags.storage_path
        self._external_url = flags.external_url.rstrip("/")
        self._enable_admin_api = flags.enable_admin_api
        self._query_flags = flags.query
        self._loaded = self._load()
        self._registry = CollectorRegistry()
        self._manager: ScrapeManager | None = None
        self._loaded_ms = _now_ms()
        self._reload_lock = asyncio.Lock()
        self._reload_succeeded = True
        Gauge(
            "fleetwatch_config_last_reload_successful",
            "Whether the last attempt to load the config succeeded.",
            registry=self._registry,
        ).set_function(lambda: self._reload_succeeded)
        self._ready = False

    async def run(self) -> None:
        """Start, serve until a signal says stop, and stop. Raises FleetwatchError where it cannot start."""
        stop = stop_signal()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, lambda: None)  # the file has just been read; by default it would kill
        async with contextlib.AsyncExitStack() as stack:
            web_config = load_web_config(self._web_config_file)
            store = await self._open_store(stack)
            gc.set_threshold(*_GC_THRESHOLDS)
            if self._parts.exporter and (own := self._loaded.config.exporter) is not None:
                exporter = web.AppRunner(create_exporter_app(), access_log=None)
                await serve(stack, exporter, [own.listen_address], "exporter.listen_address")
            self._manager = self._scrape_manager(store) if self._parts.scraper else None
            app = create_app(self._dependencies(store))
            await serve(stack, make_runner(app), [self._listen_address], "--web.listen-address", web_config)
            if self._manager is not None:
                stack.push_async_callback(self._manager.stop)
                await self._manager.apply(self._loaded.config, self._loaded.directory)
            maintenance = asyncio.create_task(_maintain(store))
            maintenance.add_done_callback(_report_crash)
            stack.push_async_callback(_cancel, maintenance)
            reloads: set[asyncio.Task[None]] = set()
            stack.push_async_callback(_finish, reloads)
            loop.add_signal_handler(signal.SIGHUP, self._reload_in_background, reloads)
            self._name_ignored_keys()
            self._ready = True
            typer.echo(f"Fleetwatch {__version__} is ready: {shown_url(self._listen_address, web_config)}")
            await stack.enter_async_context(ServiceManager().service())
            await stop.wait()
            log.info("stopping")
            self._ready = False

    async def reload(self) -> None:
        """Read the config file again. Raises FleetwatchError where it is refused; then the old one stays in force."""
        async with self._reload_lock:
            try:
                loaded = await asyncio.to_thread(self._load)
                if self._manager is not None:
                    await self._manager.apply(loaded.config, loaded.directory)
            except FleetwatchError:
                self._reload_succeeded = False
                raise
            self._loaded = loaded
            self._loaded_ms = _now_ms()
            self._reload_succeeded = True
            self._name_ignored_keys()
            log.info("config reloaded", extra={"file": self._config_file})

    def _load(self) -> LoadedConfig:
        return load_config(self._config_file) if self._config_file else default_config(self._listen_address)

    async def _open_store(self, stack: contextlib.AsyncExitStack) -> Store:
        place = self._store_place()
        storage, directory = self._loaded.config.storage, self._loaded.directory
        store = await asyncio.to_thread(
            open_configured, storage, place, directory, head=self._parts.head, scrapes=self._parts.scraper
        )
        stack.push_async_callback(asyncio.to_thread, store.close)
        figures = {key: f"{value:.12g}" for key, value in store.stats().items() if value}
        log.info("store opened", extra={"path": shown_dsn(place.spec), **figures})
        return store

    def _scrape_manager(self, store: Store) -> ScrapeManager:
        inventory = None
        if self._loaded.config.inventory:
            inventory = Inventory(self._store_place().directory / "inventory.json", self._registry)
        return ScrapeManager(store, self._registry, inventory=inventory)

    def _store_place(self) -> StorePlace:
        loaded = self._loaded
        return store_place(loaded.config.storage, loaded.directory, self._listen_address, self._storage_path)

    def _dependencies(self, store: Store) -> Dependencies:
        PlatformCollector(self._registry)
        GCCollector(self._registry)
        config = self._loaded.config
        query, log_file = self._query_flags.applied_to(config.query), config.global_.query_log_file
        options = EngineOptions(
            lookback_ms=query.lookback_delta,
            default_step_ms=config.global_.evaluation_interval,
            max_samples=query.max_samples,
            timeout_s=query.timeout / 1000,
        )
        engine = Engine(store, options)
        return Dependencies(
            store=store,
            engine=engine,
            build=BuildInfo(__version__),
            registry=self._registry,
            ready=lambda: self._ready,
            targets=self._manager,
            reload=self.reload,
            config_status=self._config_status,
            external_url=self._external_url,
            enable_admin_api=self._enable_admin_api,
            retention=format_duration(config.storage.retention_ms),
            query_threads=query.max_concurrency,
            query_timeout_s=query.timeout / 1000,
            query_memory=MemoryBudget(query.max_memory, query.max_total_memory),
            max_response_bytes=query.max_response_size,
            query_log=QueryLog(self._loaded.directory / log_file) if log_file else None,
            range_cache=RangeCache(engine, store, query.cache) if query.cache and store.tells_all else None,
        )

    def _config_status(self) -> ConfigStatus:
        return ConfigStatus(self._loaded.shown_yaml, self._loaded_ms, self._reload_succeeded)

    def _reload_in_background(self, reloads: set[asyncio.Task[None]]) -> None:
        task = asyncio.create_task(self._reload_and_log())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    async def _reload_and_log(self) -> None:
        try:
            await self.reload()
        except FleetwatchError as error:
            log.error("the config was not reloaded, the old one stays in force: %s", error)

    def _name_ignored_keys(self) -> None:
        if keys := ignored_keys(self._loaded.config):
            log.warning("the config has keys that this version does not act on", extra={"keys": ", ".join(keys)})


def run_process(parts: Parts, flags: Flags) -> None:
    """Run a process to its end. Raises FleetwatchError where it cannot start."""
    allow_open_files()
    disable_created_metrics()  # a series for each counter that Prometheus's own processes do not have either
    uvloop.run(_run(parts, flags))


async def _run(parts: Parts, flags: Flags) -> None:
    await Process(parts, flags).run()


async def _maintain(store: Store) -> None:
    """Let the store seal, compact and apply its retention; a failure is logged and tried again."""
    while True:
        await asyncio.sleep(MAINTENANCE_INTERVAL_S)
        try:
            await asyncio.to_thread(store.maintain, _now_ms())
        except FleetwatchError as error:
            log.error("maintenance of the store failed, it is tried again: %s", error)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def _report_crash(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (crash := task.exception()) is not None:
        log.error("maintenance ended by a defect, nothing is sealed until a restart", exc_info=crash)


async def _finish(tasks: set[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

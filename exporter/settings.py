"""What can be set on an exporter: by flags, as node_exporter spells them, or by a YAML file that says the same.

    path: {procfs: /host/proc, sysfs: /host/sys, rootfs: /host}
    web: {listen_address: [":9100"], config_file: web.yml}
    collectors:
      systemd: {enabled: true, unit_include: "(nginx|postgresql).*"}
      filesystem: {mount_points_exclude: "^/(proc|sys)($|/)"}

The keys of a collector are those of its options, and `enabled`.
"""

import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from common.yamlfile import Duration
from exporter.catalog import COLLECTORS
from exporter.errors import ExporterError
from exporter.registry import Collector, Registry
from exporter.roots import Roots


class PathSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`path`: where the host's file systems are seen."""

    procfs: str = "/proc"
    sysfs: str = "/sys"
    rootfs: str = "/"
    udev_data: str = "/run/udev/data"

    def roots(self) -> Roots:
        """The same as paths."""
        return Roots(Path(self.procfs), Path(self.sysfs), Path(self.rootfs), Path(self.udev_data))


class WebSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`web`: how the metrics are served. `max_requests` 0 means no limit."""

    listen_address: tuple[str, ...] = (":9100",)
    telemetry_path: str = "/metrics"
    config_file: str = ""
    max_requests: int = 40
    disable_exporter_metrics: bool = False


# The type of `collectors`: one field for each, of a type with its options and `enabled`; None is the default.
_CollectorsSettings: Any = msgspec.defstruct(
    "CollectorsSettings",
    [
        (name, made, made())
        for name, kind in COLLECTORS.items()
        for made in [
            msgspec.defstruct(
                kind.options.__name__,
                [("enabled", bool | None, None)],
                bases=(kind.options,),
                kw_only=True,
                frozen=True,
                forbid_unknown_fields=True,
            )
        ]
    ],
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
)


class ExporterSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file. `disable_defaults` leaves only the collectors that are enabled by name."""

    path: PathSettings = PathSettings()
    web: WebSettings = WebSettings()
    state_directory: str = ""
    collector_deadline: Duration = Duration(1000)
    disable_defaults: bool = False
    collectors: _CollectorsSettings = _CollectorsSettings()

    def registry(self, platform: str = sys.platform, reserved: Collection[str] = ()) -> Registry:
        """The registry of the enabled collectors, which may not give the `reserved` metrics.

        Raises ExporterError where an option cannot be used.
        """
        collectors = self._collectors(platform)
        return Registry(collectors, self.collector_deadline / 1000, COLLECTORS.keys(), reserved)

    def is_enabled(self, name: str) -> bool:
        """Whether a collector runs."""
        chosen: bool | None = getattr(self.collectors, name).enabled
        return COLLECTORS[name].enabled and not self.disable_defaults if chosen is None else chosen

    def _collectors(self, platform: str) -> Mapping[str, Collector]:
        enabled = [name for name in COLLECTORS if self.is_enabled(name)]
        roots = self.path.roots()
        if platform != "linux":
            # Imported here as Linux can do without psutil, and without the memory it takes.
            from exporter.collectors.portable import portable_collectors

            portable = portable_collectors(roots, platform)
            # Some are of such systems alone; there is no flag for these.
            return {name: made for name, made in portable.items() if name in enabled or name not in COLLECTORS}
        collectors = {}
        for name in enabled:
            try:
                collectors[name] = COLLECTORS[name].make(roots, self._options(name))
            except ValueError as error:
                raise ExporterError(f"the options of the collector {name} cannot be used: {error}") from error
        return collectors

    def _options(self, name: str) -> Any:
        """A collector's options. Where state is kept is set once, for all who keep some."""
        options = getattr(self.collectors, name)
        if self.state_directory and getattr(options, "state_directory", None) == "":
            return msgspec.structs.replace(options, state_directory=self.state_directory)
        return options

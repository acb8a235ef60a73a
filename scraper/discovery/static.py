"""`static_configs`: targets written into the config file."""

from collections.abc import Sequence

import msgspec

from scraper.discovery.model import Publish, TargetGroup


class StaticConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Addresses as `host:port`, and labels for all of them. Also the form of a group in a file_sd file."""

    targets: tuple[str, ...] = ()
    labels: dict[str, str] = {}

    def group(self, source: str, **more: str) -> TargetGroup:
        """As a target group, with `more` labels added."""
        return TargetGroup(source, [{"__address__": target} for target in self.targets], {**self.labels, **more})


class StaticDiscovery:
    """Publishes the groups of the config file once."""

    def __init__(self, configs: Sequence[StaticConfig]) -> None:
        self._groups = [config.group(str(index)) for index, config in enumerate(configs)]

    async def run(self, publish: Publish) -> None:
        """See Discoverer."""
        publish(self._groups)

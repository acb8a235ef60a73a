"""The slaves of each bonding device, and how many have a link (kernel: Documentation/networking/bonding.rst)."""

from collections.abc import Iterator
from pathlib import Path

from exporter.errors import NoDataError
from exporter.roots import Roots, read_text
from exposition.writer import Family, label_text


class BondingCollector:
    """`node_bonding_active`, `node_bonding_slaves`."""

    def __init__(self, roots: Roots) -> None:
        self._devices = roots.sysfs / "class/net"

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        slaves = Family("node_bonding_slaves", "gauge", "Number of configured slaves per bonding interface.")
        active = Family("node_bonding_active", "gauge", "Number of active slaves per bonding interface.")
        try:
            for master in read_text(self._devices / "bonding_masters").split():
                up = self._links_up(self._devices / master)
                slaves.add(len(up), label_text(master=master))
                active.add(sum(up), label_text(master=master))
        except FileNotFoundError as error:
            raise NoDataError(f"no bonding devices: {error}") from error
        yield active
        yield slaves

    def _links_up(self, master: Path) -> list[bool]:
        """Whether the link is up, for each slave."""
        slaves = read_text(master / "bonding/slaves").split()
        return [_mii_status(master, slave).strip() == "up" for slave in slaves]


def _mii_status(master: Path, slave: str) -> str:
    try:
        return read_text(master / f"lower_{slave}/bonding_slave/mii_status")
    except FileNotFoundError:
        # The link's name before Linux 3.17.
        return read_text(master / f"slave_{slave}/bonding_slave/mii_status")

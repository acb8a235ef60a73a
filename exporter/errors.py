"""The errors of the exporter.

FleetwatchError
└── ExporterError               a setting that cannot be used; the message names it
    └── UnknownCollectorError   a request names a collector that does not run here
NoDataError                     a collector found nothing to report on this host
"""

from common.errors import FleetwatchError


class ExporterError(FleetwatchError):
    """A setting of the exporter that cannot be used."""


class UnknownCollectorError(ExporterError):
    """No enabled collector has this name."""


class NoDataError(Exception):
    """What a collector reports on is not there: its success is 0, which is no news worth a line in the log."""

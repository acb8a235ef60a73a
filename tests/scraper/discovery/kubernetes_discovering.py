"""The Kubernetes discoverer at work, with short waits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.yamlfile import loads
from scraper.discovery.kubernetes.config import KubernetesSDConfig
from scraper.discovery.kubernetes.connection import SERVICE_ACCOUNT
from scraper.discovery.model import Surroundings
from tests.scraper.discovery.discovering import Published, running, surroundings
from tests.scraper.discovery.kubernetes_api import KubernetesAPI
from tests.scraper.targets import eventually

RETRY_S = 0.02
GATHER_S = 0.001


def kubernetes_config(entry: dict[str, Any]) -> KubernetesSDConfig:
    """The entry as it would be read from a file. Raises ConfigError."""
    return loads(yaml.safe_dump(entry), KubernetesSDConfig, lambda config: config.problems(""))


@asynccontextmanager
async def discovering(
    around: Surroundings | None = None,
    service_account: Path = SERVICE_ACCOUNT,
    gather_s: float = GATHER_S,
    **entry: Any,
) -> AsyncIterator[Published]:
    """The discoverer of an entry of a config file at work; what was refused is soon tried again."""
    discoverer = kubernetes_config(entry).discoverer(around or surroundings(), service_account, gather_s)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("reflector", "discovery"):
            patch.setattr(f"scraper.discovery.kubernetes.{module}.MAX_RETRY_S", RETRY_S)
        async with running(discoverer) as published:
            yield published


async def watched(api: KubernetesAPI, *plurals: str) -> None:
    """Wait until all changes reach whoever watches these resources."""
    await eventually(lambda: all(api.watches.get(plural) for plural in plurals))

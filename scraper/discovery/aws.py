"""What the sources in AWS share: the keys of their configs, and asking AWS through botocore.

botocore brings what is AWS's own: credentials (keys, profiles, roles, instance metadata), signatures, endpoints of
regions, pages and error codes. It is an extra, `fleetwatch[aws]`, and imported where a config has such a source. It is
synchronous, so it works in threads.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from common.yamlfile import Problem
from scraper.discovery.http_api import APIConfig
from scraper.discovery.labels import prefixed
from scraper.discovery.model import DiscoveryError, Publish, Surroundings, TargetGroup
from scraper.discovery.refresh import refresh

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 30
_METADATA_TIMEOUT_S = 2


class AWSConfig(APIConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Without `access_key` and `secret_key`, AWS's usual places for credentials are looked in.

    Of the keys of http_config, `tls_config` and `proxy_url` have an effect.
    """

    region: str = ""
    endpoint: str = ""
    access_key: str = ""
    secret_key: str = ""
    profile: str = ""
    role_arn: str = ""
    port: int = 80

    def problems(self, path: str) -> Iterator[Problem]:
        """See SDConfig."""
        if bool(self.access_key) != bool(self.secret_key):
            yield Problem(f"{path}.secret_key", "access_key and secret_key go together")
        yield from super().problems(path)


class AWSDiscovery:
    """Publishes the targets that `fetch` makes of the answers of a client of a service, every refresh interval."""

    def __init__(
        self,
        mechanism: str,
        config: AWSConfig,
        surroundings: Surroundings,
        fetch: Callable[[Any], Sequence[dict[str, str]]],
    ) -> None:
        self._mechanism = mechanism
        self._config = config
        self._surroundings = surroundings
        self._fetch = fetch
        self._client: Any = None

    async def run(self, publish: Publish) -> None:
        """See Discoverer."""
        interval_ms = self._config.refresh_interval
        try:
            await refresh(self._mechanism, interval_ms, self._groups, publish, self._surroundings.metrics)
        finally:
            if self._client is not None:
                self._client.close()

    async def _groups(self) -> Sequence[TargetGroup]:
        return await asyncio.to_thread(self._ask)

    def _ask(self) -> Sequence[TargetGroup]:
        try:
            exceptions, parsers = import_module("botocore.exceptions"), import_module("botocore.parsers")
        except ModuleNotFoundError as error:
            raise DiscoveryError(f"{self._mechanism}_sd_configs need botocore: install fleetwatch[aws]") from error
        try:
            if self._client is None:
                self._client = open_client(self._mechanism, self._config, self._surroundings.directory)
            targets = list(self._fetch(self._client))
        except exceptions.ClientError as error:
            self._client = None  # its credentials may be the reason: those of a role end after an hour
            raise DiscoveryError(str(error)) from error
        except (exceptions.BotoCoreError, parsers.ResponseParserError) as error:
            raise DiscoveryError(str(error)) from error
        return [TargetGroup(self._client.meta.region_name, targets)]


def open_client(service: str, config: AWSConfig, directory: Path) -> Any:
    """A botocore client. Raises DiscoveryError where no region is known, and botocore's exceptions."""
    session = import_module("botocore.session").Session(profile=config.profile or None)
    region = config.region or session.get_config_variable("region") or _local_region(session)
    if not region:
        raise DiscoveryError(f"{service}_sd_configs: no region is given, and this machine is in none")
    keys = {"aws_access_key_id": config.access_key or None, "aws_secret_access_key": config.secret_key or None}
    if config.role_arn:
        keys = _assume_role(session, config, directory, region, keys)
    options = _options(config, directory)
    return session.create_client(service, region, endpoint_url=config.endpoint or None, **options, **keys)


def _assume_role(
    session: Any, config: AWSConfig, directory: Path, region: str, keys: dict[str, str | None]
) -> dict[str, str | None]:
    """Credentials of the role."""
    sts = session.create_client("sts", region, **_options(config, directory), **keys)
    role = sts.assume_role(RoleArn=config.role_arn, RoleSessionName="fleetwatch")["Credentials"]
    return {
        "aws_access_key_id": role["AccessKeyId"],
        "aws_secret_access_key": role["SecretAccessKey"],
        "aws_session_token": role["SessionToken"],
    }


def _options(config: AWSConfig, directory: Path) -> dict[str, Any]:
    """The parts of http_config that botocore knows."""
    tls = config.tls_config
    options: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "read_timeout": READ_TIMEOUT_S,
        "retries": {"total_max_attempts": 1},  # the refresh loop tries again
    }
    if config.proxy_url:
        options["proxies"] = {"http": config.proxy_url, "https": config.proxy_url}
    if tls.cert_file:
        options["client_cert"] = (str(directory / tls.cert_file), str(directory / tls.key_file))
    verify = False if tls.insecure_skip_verify else str(directory / tls.ca_file) if tls.ca_file else None
    return {"config": import_module("botocore.config").Config(**options), "verify": verify}


def _local_region(session: Any) -> str:
    """The region of the instance that this runs on, empty elsewhere."""
    key = "ec2_metadata_service_endpoint"
    config = {key: session.get_config_variable(key)}
    fetcher = import_module("botocore.utils").InstanceMetadataRegionFetcher(_METADATA_TIMEOUT_S, config=config)
    return fetcher.retrieve_region() or ""


def tag_labels(prefix: str, tags: Sequence[dict[str, str]]) -> dict[str, str]:
    """Tags with a key and a value, in any case of these words."""
    found = [{name.lower(): text for name, text in tag.items()} for tag in tags]
    return prefixed(prefix, {tag["key"]: tag["value"] for tag in found if "key" in tag and "value" in tag})

"""What is special about STACKIT: a way to sign in that there is not."""

from common.yamlfile import Duration
from scraper.discovery.stackit import StackitSDConfig
from tests.scraper.discovery.discovering import REFRESH_MS, failures, running, serving_api, surroundings
from tests.scraper.targets import eventually


async def test_a_service_account_key_is_a_failure_and_asks_nobody() -> None:
    around = surroundings()
    async with serving_api({}) as api:
        config = StackitSDConfig(
            project="p", endpoint=api.url, service_account_key_path="key.json", refresh_interval=Duration(REFRESH_MS)
        )
        async with running(config.discoverer(around)) as published:
            await eventually(lambda: failures(around, "stackit") > 0)
            assert published.times == 0
        assert api.requests == []

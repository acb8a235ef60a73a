"""What is special about Kuma: what is asked for, and answers of another type."""

import json

import pytest

from scraper.discovery.kuma import RESOURCE_TYPE, KumaSDConfig
from tests.scraper.discovery.discovering import failures, running, serving_api, surroundings
from tests.scraper.targets import eventually

PATH = "/v3/discovery:monitoringassignments"


async def test_the_request() -> None:
    async with serving_api({PATH: {"type_url": RESOURCE_TYPE}}) as api:
        config = KumaSDConfig(server=api.url, client_id="me")
        async with running(config.discoverer(surroundings())) as published:
            await eventually(lambda: published.times == 1)
        assert json.loads(api.bodies[0]) == {"node": {"id": "me"}, "type_url": RESOURCE_TYPE}
        assert api.requests[0].headers["Content-Type"] == "application/json"
        assert api.requests[0].query["fetch-timeout"] == "2m"


@pytest.mark.parametrize(
    "answer", [{"type_url": "other"}, {"type_url": RESOURCE_TYPE, "resources": [{"@type": "other"}]}]
)
async def test_another_type_is_a_failure(answer: dict[str, object]) -> None:
    around = surroundings()
    async with serving_api({PATH: answer}) as api:
        async with running(KumaSDConfig(server=api.url).discoverer(around)) as published:
            await eventually(lambda: failures(around, "kuma") > 0)
        assert published.times == 0

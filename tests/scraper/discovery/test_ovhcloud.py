"""What is special about OVHcloud: signatures by the server's clock."""

import hashlib

from scraper.discovery.ovhcloud import OVHcloudSDConfig
from tests.scraper.discovery.discovering import running, serving_api, surroundings
from tests.scraper.targets import eventually


async def test_requests_are_signed_by_the_server_s_clock() -> None:
    async with serving_api({"/1.0/auth/time": 1_700_000_000, "/1.0/vps": []}) as api:
        config = OVHcloudSDConfig(
            service="vps",
            endpoint=f"{api.url}/1.0/",
            application_key="key",
            application_secret="secret",
            consumer_key="consumer",
        )
        async with running(config.discoverer(surroundings())) as published:
            await eventually(lambda: published.times == 1)
        clock, request = api.requests
        assert "X-Ovh-Signature" not in clock.headers
        assert request.headers["X-Ovh-Application"] == "key"
        assert request.headers["X-Ovh-Consumer"] == "consumer"
        asked_s = request.headers["X-Ovh-Timestamp"]
        assert 0 <= int(asked_s) - 1_700_000_000 < 60
        signed = f"secret+consumer+GET+{api.url}/1.0/vps++{asked_s}"
        assert request.headers["X-Ovh-Signature"] == "$1$" + hashlib.sha1(signed.encode()).hexdigest()

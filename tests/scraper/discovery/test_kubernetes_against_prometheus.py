"""The same cluster seen by a live Prometheus: equal discovered labels, at first and after changes were watched.

Every target is dropped by relabelling, so that nobody scrapes the made-up addresses.
"""

import asyncio
import copy
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from scraper.target import discovered_labels
from tests.components import require
from tests.scraper.discovery.discovering import Published
from tests.scraper.discovery.kubernetes_api import KubernetesAPI, Object, pod, serving_kubernetes
from tests.scraper.discovery.kubernetes_discovering import discovering
from tests.scraper.discovery.test_against_prometheus import DROP, known, running_prometheus, text_key
from tests.scraper.discovery.test_kubernetes import CLUSTER
from tests.scraper.targets import eventually, resolved_job

Found = dict[str, list[dict[str, str]]]

ENTRIES: dict[str, dict[str, Any]] = {
    "node": {},
    "pod": {"attach_metadata": {"node": True}},
    "service": {},
    "endpoints": {"attach_metadata": {"node": True}},
    "endpointslice": {"attach_metadata": {"node": True}},
    "ingress": {},
    "pod-plain": {},
    "endpoints-plain": {},
    "endpointslice-plain": {},
    "pod-names": {"namespaces": {"names": ["kube-system", "none"]}},
    "pod-selected": {"selectors": [{"role": "pod", "label": "app=web", "field": "metadata.namespace=default"}]},
    "endpoints-selected": {
        "selectors": [{"role": "endpoints", "field": "metadata.name=web"}, {"role": "pod", "label": "tier=front"}]
    },
    "service-named": {"namespaces": {"names": ["default"]}, "selectors": [{"role": "service", "label": "app=web"}]},
}


def entries(api: KubernetesAPI) -> dict[str, dict[str, Any]]:
    return {name: {"role": name.partition("-")[0], "api_server": api.url, **more} for name, more in ENTRIES.items()}


@asynccontextmanager
async def all_discovering(api: KubernetesAPI) -> AsyncIterator[dict[str, Published]]:
    """Our discoverers at work, each having published once."""
    async with AsyncExitStack() as stack:
        found = {name: await stack.enter_async_context(discovering(**entry)) for name, entry in entries(api).items()}
        await eventually(lambda: all(published.times for published in found.values()))
        yield found


def found_by_us(all_published: dict[str, Published]) -> Found:
    found = {}
    for name, published in all_published.items():
        job = resolved_job(job_name=name, metrics_path=f"/{name}")
        targets = [dict(discovered_labels(target, {}, job)) for target in published.targets]
        if targets:
            found[name] = sorted(targets, key=text_key)
    return found


async def found_by_prometheus(session: aiohttp.ClientSession, url: str) -> Found:
    found: Found = {}
    try:
        async with session.get(f"{url}/targets") as response:
            dropped = (await response.json())["data"]["droppedTargets"]
    except aiohttp.ClientError:
        return found  # it is not up yet
    for target in dropped:
        labels = target["discoveredLabels"]
        found.setdefault(labels["__metrics_path__"].removeprefix("/"), []).append(labels)
    return {name: sorted(targets, key=text_key) for name, targets in found.items()}


async def assert_equal(api: KubernetesAPI, url: str, watching: dict[str, Published], pods_behind: bool = True) -> Found:
    """That Prometheus and we have found what is there; Prometheus passes news on every 5 s.

    It looks again at a pod behind endpoints when these change, or the pod's phase: before that, `pods_behind` is False.
    """
    async with all_discovering(api) as listing:
        there = found_by_us(listing)
    deadline_s = time.monotonic() + 20
    async with aiohttp.ClientSession() as session:
        while True:
            ours, theirs = found_by_us(watching), await found_by_prometheus(session, url)
            behind = {} if pods_behind else {name: there[name] for name in there if name.startswith("endpoint")}
            if ours == {**theirs, **behind} == there:
                return there
            if time.monotonic() > deadline_s:
                for name in there:
                    assert ours.get(name) == there[name], name
                    assert theirs.get(name) == there[name], name
                raise AssertionError(theirs.keys() - there.keys())
            await asyncio.sleep(0.2)


def changed(kind: str, name: str, **keys: Any) -> Object:
    """An object of the cluster with other contents; `labels` are those of its metadata."""
    found = next(object_ for object_ in CLUSTER if object_["kind"] == kind and object_["metadata"]["name"] == name)
    other = copy.deepcopy(found)
    other["metadata"]["labels"] = {**(other["metadata"].get("labels") or {}), **keys.pop("labels", {})}
    return {**other, **keys}


async def change_much(api: KubernetesAPI) -> None:
    await api.put(
        changed("Node", "node-a", labels={"news": "yes"}),
        changed("Pod", "web-2", labels={"news": "yes", "app": "other"}),
        changed("Service", "web", labels={"news": "yes"}),
        changed("Endpoints", "dns", subsets=[{"addresses": [{"ip": "10.5.0.1"}], "ports": [{"port": 5, "name": "x"}]}]),
        changed("EndpointSlice", "orphan", labels={"news": "yes"}),
        changed("Ingress", "open", spec={"rules": [{"host": "new.example.com"}]}),
        pod("new", "10.1.0.99", labels={"app": "web"}),
    )
    await api.delete("Pod", "bare", "default")
    await api.delete("Node", "node-b")
    await api.delete("Endpoints", "alone", "default")
    await api.delete("Service", "shop", "default")


async def test_discovered_labels_are_prometheus_s(tmp_path: Path) -> None:
    prometheus = require("prometheus")
    if not known("kubernetes_sd_configs", tmp_path):
        pytest.skip("this Prometheus was built without kubernetes_sd_configs")
    async with serving_kubernetes(*CLUSTER) as api, all_discovering(api) as watching:
        jobs = [
            {"job_name": name, "metrics_path": f"/{name}", "relabel_configs": DROP, "kubernetes_sd_configs": [entry]}
            for name, entry in entries(api).items()
        ]
        async with running_prometheus(prometheus, {"scrape_configs": jobs}, tmp_path) as url:
            first = await assert_equal(api, url, watching)
            await change_much(api)
            second = await assert_equal(api, url, watching, pods_behind=False)
            assert all(first[name] != second[name] for name in ("node", "pod", "service", "endpoints", "ingress"))

            await api.put(
                changed("Node", "node-d", labels={"after": "gap"}),
                changed("Endpoints", "web", labels={"after": "pods"}),
                changed("EndpointSlice", "web-abc", labels={"after": "pods"}),
            )
            await api.delete("Pod", "new", "default")
            await api.disconnect()
            await api.put(changed("Service", "dns", labels={"after": "gap"}))
            third = await assert_equal(api, url, watching)
            assert all(second[name] != third[name] for name in ("node", "pod", "service", "endpointslice"))

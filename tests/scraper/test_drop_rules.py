"""The rule that drops metrics, run through the relabelling it is made for."""

import yaml
from hypothesis import given
from hypothesis import strategies as st

from common.labels import Labels
from common.yamlfile import loads
from scraper.config import ScrapeSettings
from scraper.drop_rules import drop_rule, rule_as_yaml
from scraper.relabel import compile_rules, relabel

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=":"), min_size=1, max_size=8)


@given(st.sets(names, min_size=1, max_size=5), names)
def test_the_rule_drops_just_these(unread: set[str], other: str) -> None:
    rule = drop_rule(unread)
    assert rule is not None
    shown = rule_as_yaml(rule)
    assert yaml.safe_load(shown) == {"metric_relabel_configs": [rule]}
    config = "scrape_configs:\n- job_name: x\n" + "".join(f"  {line}\n" for line in shown.splitlines())
    (job,) = loads(config, ScrapeSettings).scrape_configs
    rules = compile_rules(job.metric_relabel_configs)
    for name in (*unread, other):
        assert bool(relabel(Labels.of(__name__=name), rules)) == (name not in unread), name


def test_what_no_rule_can_drop_is_left_out() -> None:
    rule = drop_rule(["up", "node:load:sum", "a.b", "node_x", "scrape_series_refused", "ALERTS"])
    assert rule is not None
    assert rule["regex"] == r"a\.b|node_x"
    assert drop_rule(["up", "scrape_body_size_bytes"]) is None

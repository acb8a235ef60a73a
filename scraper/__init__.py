"""Targets and their scrapes: config, discovery, relabelling, scrape loops, the scrape cache.

    ScrapeSettings -> ScrapePool per job -> discovery -> relabelling -> Target -> ScrapeLoop -> ScrapeCache -> Store

`manager.ScrapeManager` is the door; `config.ScrapeSettings` is its part of the config file.
"""

"""Where targets come from.

Each source is a module with a config Struct and a `Discoverer`; `sources.py` knows which key of a scrape config
belongs to which. A discoverer publishes the whole list of groups it knows, each time it changes: what is not in
the list any more is gone. One that fails keeps what it published last and says so in the log.
"""

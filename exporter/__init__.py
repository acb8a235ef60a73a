"""What runs on each host: collectors of the host's metrics, and the HTTP page that serves them.

Plan: `roots` says where /proc and the like are; `collectors/` has one module per collector, in the names of
Prometheus's node_exporter, and `portable` those of systems without /proc; `registry` picks and runs them, each timed
and with a success metric; `app` serves the result.
"""

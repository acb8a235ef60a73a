"""HTTP: the Prometheus API, the health and lifecycle endpoints, own metrics and the web page.

    from server.app import create_app, make_runner
    from server.deps import Dependencies
    runner = make_runner(create_app(Dependencies(store=store, engine=engine, ...)))

A request goes through server.middleware (metrics, CORS, errors), its handler reads server.params, works on a
thread of server.workers and hands its data to server.answers, which writes Prometheus's envelope.
"""

"""The web config file of Prometheus's exporter-toolkit: TLS, client certificates, basic auth, headers, rate limit.

    web_config = WebConfig.load(path)                        # ConfigError with everything that is wrong
    web_config.install(app)                                  # before the app's runner is set up
    web.SockSite(runner, sock, ssl_context=web_config.ssl_context())

Every Fleetwatch process that listens serves through it. `config` holds what is in force and rereads files that
change, `schema` says what the file may hold, `tls` makes the SSL context, `auth` checks passwords, `rate_limit`
counts requests. docs/web-config.md is the user's page. Format:
https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md
"""

from common.webconfig.config import WebConfig

__all__ = ["WebConfig"]

"""Targets whose scrapes fail, each in its way: what is said of them, and how many samples are reported.

Each has the words of Prometheus 3.5. Where ours differ they are there too; docs/http-config.md says why.
"""

import gzip
from dataclasses import dataclass

from tests.scraper.http_servers import RawServer

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
REDIRECT = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: "
ZIPPED = gzip.compress(b"a 1\n" * 500)
BROKEN = 'Get "URL": net/http: HTTP/1.x transport connection broken: '
NOT_VERIFIED = 'Get "URL": tls: failed to verify certificate: x509: '


def sized(body: bytes, headers: bytes = b"", content_type: bytes | None = b"text/plain") -> RawServer:
    kind = b"" if content_type is None else b"Content-Type: " + content_type + b"\r\n"
    return RawServer([b"HTTP/1.1 200 OK\r\n%b%bContent-Length: %d\r\n\r\n%b" % (kind, headers, len(body), body)])


def zipped(body: bytes) -> RawServer:
    return sized(body, b"Content-Encoding: gzip\r\n")


@dataclass
class Case:
    """A target, more of its job's YAML, what is said of it (URL, ADDRESS and TIME filled in) and what is counted.

    The target is a server, or an address where there may be none.
    """

    name: str
    target: RawServer | str
    error: str
    job: str = ""
    counted: tuple[int, int] = (0, 0)
    ours: str | None = None


NO_SERVER = [
    Case("refused", "127.0.0.1:1", 'Get "URL": dial tcp ADDRESS: connect: connection refused'),
    Case("refused over IPv6", "[::1]:1", 'Get "URL": dial tcp ADDRESS: connect: connection refused'),
    Case("refused by name", "localhost:1", 'Get "URL": dial tcp 127.0.0.1:1: connect: connection refused'),
    Case("unreachable", "255.255.255.255:1", 'Get "URL": dial tcp ADDRESS: connect: network is unreachable'),
    Case("port 0", "127.0.0.1:0", 'Get "URL": dial tcp ADDRESS: connect: connection refused'),
    Case("a port too high", "127.0.0.1:99999", 'Get "URL": dial tcp: address 99999: invalid port'),
    Case("a port that is a word", "127.0.0.1:xyz", 'parse "URL": invalid port ":xyz" after host'),
    Case("another scheme", "127.0.0.1:1", 'Get "URL": unsupported protocol scheme "ftp"', "scheme: ftp"),
    Case(
        "no such host",
        "no-such-host.invalid:9100",
        'Get "URL": dial tcp: lookup no-such-host.invalid on NAMESERVER: no such host',
        ours='Get "URL": dial tcp: lookup no-such-host.invalid: no such host',
    ),
    Case(
        "parameters",
        "127.0.0.1:1",
        'Get "http://ADDRESS/metrics?a=x+y": dial tcp ADDRESS: connect: connection refused',
        'params: {a: ["x y"]}',
    ),
    Case(
        "no file of credentials",
        "127.0.0.1:1",
        'Get "URL": unable to read authorization credentials: unable to read file /nowhere/f: '
        "open /nowhere/f: no such file or directory",
        "authorization: {credentials_file: /nowhere/f}",
    ),
    Case(
        "no file of a password",
        "127.0.0.1:1",
        'Get "URL": unable to read basic auth password: unable to read file /nowhere/f: '
        "open /nowhere/f: no such file or directory",
        "basic_auth: {username: u, password_file: /nowhere/f}",
    ),
    Case(
        "no file of a header",
        "127.0.0.1:1",
        'Get "URL": unable to read headers file /nowhere/f: open /nowhere/f: no such file or directory',
        "http_headers: {X-A: {files: [/nowhere/f]}}",
    ),
    Case(
        "no proxy",
        "127.0.0.1:2",
        'Get "URL": proxyconnect tcp: dial tcp 127.0.0.1:1: connect: connection refused',
        'proxy_url: "http://127.0.0.1:1"',
    ),
    Case(
        "no token server",
        "127.0.0.1:2",
        'Get "URL": Post "http://127.0.0.1:1/t": dial tcp 127.0.0.1:1: connect: connection refused',
        'oauth2: {client_id: a, client_secret: b, token_url: "http://127.0.0.1:1/t"}',
    ),
]

ANSWERS = [
    Case("silence", RawServer(hangs=True), 'Get "URL": context deadline exceeded'),
    Case("half a head", RawServer([OK + b"X"], hangs=True), 'Get "URL": context deadline exceeded'),
    Case("half a body", RawServer([OK + b"Content-Length: 9\r\n\r\na 1\n"], hangs=True), "context deadline exceeded"),
    Case("no answer", RawServer(closes=True), 'Get "URL": EOF'),
    Case("announcements", RawServer([b"HTTP/1.1 100 Continue\r\n\r\n"], closes=True), BROKEN + "unexpected EOF"),
    Case("a short body", RawServer([OK + b"Content-Length: 9\r\n\r\na 1\n"], closes=True), "unexpected EOF"),
    Case("no last chunk", RawServer([CHUNKED + b"4\r\na 1\n\r\n"], closes=True), "unexpected EOF"),
    Case("a bad chunk", RawServer([CHUNKED + b"zz\r\nxx\r\n"], hangs=True), "invalid byte in chunk length"),
    Case("a long chunk", RawServer([CHUNKED + b"4\r\na 1\nxxxx"], closes=True), "malformed chunked encoding"),
    Case(
        "SSH", RawServer([b"SSH-2.0-OpenSSH_9\r\n"], hangs=True), BROKEN + 'malformed HTTP response "SSH-2.0-OpenSSH_9"'
    ),
    Case(
        "TLS",
        RawServer([b"\x15\x03\x01\x00\x02\x02F"], closes=True),
        BROKEN + r'malformed HTTP response "\x15\x03\x01\x00\x02\x02F"',
    ),
    Case("204", RawServer([b"HTTP/1.1 204 No Content\r\n\r\n"]), "server returned HTTP status 204 No Content"),
    Case("500", RawServer([b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"]), "server returned HTTP status 500 Oops"),
    Case("no reason", RawServer([b"HTTP/1.1 500\r\nContent-Length: 0\r\n\r\n"]), "server returned HTTP status 500"),
    Case("a circle", RawServer([REDIRECT + b"/metrics\r\n\r\n"]), 'Get "/metrics": stopped after 10 redirects'),
    Case(
        "redirects are not followed",
        RawServer([REDIRECT + b"/metrics\r\n\r\n"]),
        "server returned HTTP status 302 Found",
        "follow_redirects: false",
    ),
    Case(
        "redirects to nobody",
        RawServer([REDIRECT + b"http://127.0.0.1:1/x\r\n\r\n"]),
        'Get "http://127.0.0.1:1/x": dial tcp 127.0.0.1:1: connect: connection refused',
    ),
    Case(
        "redirects to FTP",
        RawServer([REDIRECT + b"ftp://a/x\r\n\r\n"]),
        'Get "ftp://a/x": unsupported protocol scheme "ftp"',
    ),
    Case(
        "https of no TLS",
        RawServer([b"SSH-2.0-OpenSSH_9\r\n"], hangs=True),
        'Get "URL": context deadline exceeded',
        "scheme: https",
    ),
]

SIZES = [
    Case("below the limit", sized(b"a 1\n"), "", "body_size_limit: 5B", (1, 1)),
    Case("at the limit", sized(b"a 1\n"), "body size limit exceeded", "body_size_limit: 4B"),
    Case("over the limit", sized(b"a 1\n"), "body size limit exceeded", "body_size_limit: 3B"),
    Case("a gzip over the limit", zipped(ZIPPED), "body size limit exceeded", "body_size_limit: 100B"),
    Case(
        "announces more than the limit",
        RawServer([OK + b"Content-Length: 9999\r\n\r\n"], hangs=True),
        "context deadline exceeded",
        "body_size_limit: 9KB",
        ours="body size limit exceeded",
    ),
    Case("more than announced", RawServer([OK + b"Content-Length: 4\r\n\r\na 1\nb 2\n"]), "", "", (1, 1)),
    Case(
        "more than announced, and closes",
        RawServer([OK + b"Content-Length: 4\r\n\r\na 1\nb 2\n"], True),
        "",
        "",
        (1, 1),
    ),
    Case("more chunks than the last", RawServer([CHUNKED + b"4\r\na 1\n\r\n0\r\n\r\nb 2\n"]), "", "", (1, 1)),
    Case("gzip without a header", zipped(b"a 1\n" * 9), "gzip: invalid header"),
    Case("gzip cut off in its header", zipped(b"a 1\n"), "unexpected EOF"),
    Case("gzip cut off in its body", zipped(ZIPPED[:-9]), "unexpected EOF"),
    Case("gzip cut off in its sum", zipped(ZIPPED[:-3]), "unexpected EOF"),
    Case("gzip with a wrong sum", zipped(ZIPPED[:-8] + b"\0" * 8), "gzip: invalid checksum"),
    Case("gzip of nothing", zipped(b""), "EOF"),
]


def content_type(sent: bytes | None, error: str, job: str = "") -> Case:
    return Case(f"Content-Type {sent!r} {job}", sized(b"a 1\n", b"", sent), error, job, (0, 0) if error else (1, 1))


BLANK = "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target"
NO_TARGET = " and no fallback_scrape_protocol for target\nmime: "
FALLBACK = "fallback_scrape_protocol: PrometheusText0.0.4"
CONTENT_TYPES = [
    content_type(None, BLANK),
    content_type(b"", BLANK),
    content_type(None, "", FALLBACK),
    content_type(b"text/html", "", FALLBACK),
    content_type(b"text/plain; a", "", FALLBACK),
    content_type(b"TEXT/PLAIN", ""),
    content_type(b"text/plain; version=9.9", ""),
    content_type(b'text/plain; charset="utf-8";', ""),
    *[
        content_type(
            sent,
            f'received unsupported Content-Type "{sent.decode()}" and no fallback_scrape_protocol specified for target',
        )
        for sent in (b"text/html", b"text/html; charset=utf-8", b"text")
    ],
    *[
        content_type(sent, f'cannot parse Content-Type "{sent.decode()}"{NO_TARGET}{reason}')
        for sent, reason in (
            (b"; charset=utf-8", "no media type"),
            (b"/", "no media type"),
            (b"text/", "expected token after slash"),
            (b"text:plain", "expected slash after first token"),
            (b"foo/bar/baz", "unexpected content after media subtype"),
            (b"text/pl ain", "unexpected content after media subtype"),
            (b"text/plain; a", "invalid media parameter"),
            (b"text/plain;;;", "invalid media parameter"),
        )
    ],
]

LINES = b'a 1\nb 2\nm{l="1",m="2",name="xxxxxxxxx"} 1\nc 1\n'
DROP = "metric_relabel_configs: [{source_labels: [__name__], regex: b, action: drop}]"
LIMITS = [
    Case("samples", sized(LINES), "sample limit exceeded", "sample_limit: 2", (4, 4)),
    Case(
        "labels",
        sized(LINES),
        "label_limit exceeded (metric: m, number of labels: 6, limit: 4)",
        "label_limit: 4",
        (3, 2),
    ),
    Case(
        "a label's name",
        sized(LINES),
        "label_name_length_limit exceeded (metric: a, label name: __name__, length: 8, limit: 3)",
        "label_name_length_limit: 3",
        (1, 0),
    ),
    Case(
        "labels, and then no format",
        sized(LINES + b"x y\n"),
        "label_limit exceeded (metric: m, number of labels: 6, limit: 4)",
        "label_limit: 4",
        (3, 2),
    ),
    Case(
        "labels after no format",
        sized(b"x y\n" + LINES),
        'strconv.ParseFloat: parsing "y": invalid syntax while parsing: "x y"',
        "label_limit: 4",
        ours="line 1, column 3: ",
    ),
    Case(
        "samples, and then no format",
        sized(LINES + b"x y\n"),
        'strconv.ParseFloat: parsing "y": invalid syntax while parsing: "x y"',
        "sample_limit: 2",
        (4, 4),
        ours="line 5, column 3: ",
    ),
    Case(
        "no name is left",
        sized(LINES),
        "missing metric name (__name__ label)",
        "metric_relabel_configs: [{regex: __name__, action: labeldrop}]",
        (1, 0),
        ours="missing metric name (__name__ label)",
    ),
    Case(
        "a name beyond the legacy set",
        sized(b'a 1\n{"my.metric","l.b"="c"} 1\n'),
        'invalid metric name or label names: {__name__="my.metric", "l.b"="c"}',
        "metric_name_validation_scheme: legacy, metric_name_escaping_scheme: underscores, "
        "metric_relabel_configs: [{regex: job|instance, action: labeldrop}]",
        (2, 1),
    ),
]


def broken(body: bytes, theirs: str, ours: str, counted: tuple[int, int], kind: bytes = b"text/plain") -> Case:
    return Case(f"broken {body!r}", sized(body, b"", kind), theirs, DROP, counted, ours)


OPENMETRICS = b"application/openmetrics-text; version=1.0.0"
BROKEN_BODIES = [
    broken(
        b"<html>\n",
        'expected a valid start token, got "<" ("INVALID") while parsing: "<"',
        "line 1, column 1: ",
        (0, 0),
    ),
    broken(
        b"a 1\nb 2\nc{ 3\n",
        'expected label name, got "3" ("INVALID") while parsing: "c{ 3"',
        "line 3, column 4: ",
        (2, 1),
    ),
    broken(
        b"a 1\na 2\n\n\nb x\n",
        'strconv.ParseFloat: parsing "x": invalid syntax while parsing: "b x"',
        "line 5, column 3: ",
        (2, 2),
    ),
    broken(
        b"a 1\nc",
        'expected value after metric, got "\\n" ("INVALID") while parsing: "c\\n"',
        "line 2, column 2: ",
        (1, 1),
    ),
    broken(b"a 1\n# TYPE a foo\nb 2\n", 'invalid metric type "foo"', "line 2, column 10: ", (1, 1)),
    broken(b'a 1\na{b="c\xff"} 1\n', 'invalid UTF-8 label value: "\\"c\\xff\\""', "line 2, column 7: ", (1, 1)),
    broken(b"a 1\n", "data does not end with # EOF", "line 2, column 1: ", (1, 1), OPENMETRICS),
    broken(
        b"a 1\nb 2 x\n# EOF\n",
        'strconv.ParseFloat: parsing "x": invalid syntax while parsing: "b 2 x"',
        "line 2, column 5: ",
        (1, 1),
        OPENMETRICS,
    ),
]

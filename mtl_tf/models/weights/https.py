"""Opens addresses by https, and nothing else: what is fetched becomes part of a network.

Only a server on this machine may speak http. A redirect may lead to another https server, never from https to http.
"""

import contextlib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator

SECONDS = 30  # without an answer, after which a server counts as silent
LARGEST = 2**32  # bytes of an answer; the largest encoder here has 1.4e9
_HERE = ("127.0.0.1", "::1", "localhost")


def open_url(url: str):
    """The answer to a request, as `urllib.request.urlopen` gives it.

    Raises:
        OSError: the address is none of https, the server does not answer, redirects elsewhere or sends too much.
    """
    _check(url)
    return _opener().open(urllib.request.Request(url, headers={"User-Agent": "mtl_tf"}), timeout=SECONDS)  # noqa: S310


@contextlib.contextmanager
def https_only() -> Iterator[None]:
    """Inside, everything that calls `urllib.request.urlopen` keeps these rules."""
    before = urllib.request._opener
    urllib.request.install_opener(_opener())
    try:
        yield
    finally:
        urllib.request.install_opener(before)


def _opener():
    return urllib.request.build_opener(_Rules)


class _Rules(urllib.request.HTTPRedirectHandler):
    """Takes the place of the handler that follows redirects wherever they lead."""

    handler_order = 100  # before those that open a connection

    def http_request(self, request):
        _check(request.full_url)
        return request

    https_request = file_open = ftp_open = data_open = http_request

    def redirect_request(self, request, answer, code, message, headers, url):
        if request.type == "https":
            _check(url, here=())
        return super().redirect_request(request, answer, code, message, headers, url)

    def http_response(self, request, response):
        length = response.headers.get("Content-Length", "")
        if length.isdecimal() and int(length[:20]) > LARGEST:
            raise urllib.error.URLError(f"it sends {length[:20]} bytes, more than the {LARGEST} allowed")
        return response

    https_response = http_response


def _check(url: str, here=_HERE):
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in here):
        raise urllib.error.URLError(f"weights are fetched by https only, not from {url[:100]}")

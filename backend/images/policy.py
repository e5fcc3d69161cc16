"""Which addresses may be fetched: Label Studio's origin, listed hosts, and nothing in private networks."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from backend.errors import ImageProblem, ImageRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""IPv6 addresses that carry an IPv4 address in their last 32 bits (RFC 6052)."""
GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""All IPv6 addresses that are given out so far; outside are site-local, IPv4-compatible and other old forms."""

SHOWN_LIMIT = 300
"""Characters of an address that a message repeats; image data may be written in place of an address."""

ADVICE = "add the host to CLICKPICK_ALLOWED_HOSTS if its images are to be fetched"


class HostPolicy:
    """Hosts beside Label Studio from which images may come.

    ``allowed``: host names ("images.example.com", "*.example.com", "*") and networks ("10.20.0.0/16"). Private,
    loopback, link-local and reserved addresses are refused even for listed hosts, unless a listed network has them.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self._patterns: list[str] = []
        self._networks: list[Network] = []
        for entry in allowed:
            network = _network(entry)
            if network is None:
                self._patterns.append(entry.lower())
            else:
                self._networks.append(network)

    def check_host(self, url: str) -> None:
        """ImageRefused unless the URL's host is listed, by its name or by the network of its address."""
        host = host_of(url)
        if any(fnmatchcase(host, pattern) for pattern in self._patterns):
            return
        address = _address(host)
        if address is not None and self._listed(address):
            return
        raise ImageRefused(
            f"image host {host!r} is not allowed ({public_url(url)}); expected Label Studio's own address or a listed "
            f"host; {ADVICE}"
        )

    def check_resolved(self, url: str) -> None:
        """ImageRefused when the host has an address that is refused, ImageProblem when it has none."""
        host = host_of(url)
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            message = (
                f"image host {host!r} cannot be resolved; check the address {public_url(url)} of the task"
            )
            raise ImageProblem(message) from error
        for entry in found:
            self.check_address(str(entry[4][0]), host)

    def check_address(self, address: str, host: str) -> None:
        """ImageRefused for an address that is not public and in no listed network."""
        parsed = _address(address)
        if parsed is None or not (_is_public(parsed) or self._listed(parsed)):
            raise ImageRefused(
                f"image host {host!r} is at {address}, which is no public address; if that network holds your images, "
                "add it to CLICKPICK_ALLOWED_HOSTS as a network, such as 10.20.0.0/16"
            )

    def _listed(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def host_of(url: str) -> str:
    """Lower-case host of a URL, without a trailing dot; ImageProblem for a malformed URL or one without a host."""
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        host = None
    if not host:
        raise ImageProblem(f"image address {public_url(url)!r} is malformed; expected http(s)://host/path")
    return host.rstrip(".")


def public_url(url: str) -> str:
    """The URL as it may be shown: no user, password, query (signatures live there) or fragment.

    The query of Label Studio's local files is their path, and stays.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(unreadable address)"
    query = f"?{parts.query}" if parts.path.rstrip("/").endswith("/data/local-files") and parts.query else ""
    start = f"{parts.scheme}://{host}{port}" if parts.scheme else ""
    shown = f"{start}{parts.path}{query}"
    return shown if len(shown) <= SHOWN_LIMIT else shown[:SHOWN_LIMIT] + "…"


def _network(entry: str) -> Network | None:
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_public(address: Address) -> bool:
    """Whether the address, and any IPv4 address inside it, is globally routable unicast."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in TRANSLATED:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(inner)
        if address.teredo is not None or address not in GLOBAL_UNICAST:
            return False
    return address.is_global and not address.is_multicast

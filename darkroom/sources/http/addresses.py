"""Which addresses may be reached: public ones only, unless a parameter allows the others.

A host is checked as the system will read it: `2130706433` and `0177.1` are 127.0.0.1. A name is
checked when it is resolved, and the connection goes to the very address that was checked, so that a
name that changes its meaning between the two (DNS rebinding) gains nothing.
"""

import ipaddress
import socket
from socket import AddressFamily

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from darkroom.sources.entries import Unreadable

# IPv6 that stands for an IPv4 address in its last 32 bits: NAT64 (RFC 6052), and the old ::a.b.c.d.
_LAST_32_BITS = [ipaddress.IPv6Network(net) for net in ("64:ff9b::/96", "::/96")]
# Private, and not so in the tables of every Python 3.11: protocols, local NAT64, site-local.
_NOT_PUBLIC = [ipaddress.ip_network(net) for net in ("192.0.0.0/24", "64:ff9b:1::/48", "fec0::/10")]


def is_public(address: str) -> bool:
    """Return whether an IP address is on the public internet. Raises ValueError for a name."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if any(ip in network for network in _NOT_PUBLIC):
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        hidden = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if not hidden and any(ip in network for network in _LAST_32_BITS):
            hidden = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if hidden:
            return is_public(str(hidden))
    return ip.is_global and not ip.is_multicast


def check_url(url: URL, allow_private: bool) -> URL:
    """Return the URL with an address written out in its usual form. Raises Unreadable.

    Refused are schemes other than HTTP, and private addresses; names are checked by the Resolver.
    """
    host = url.raw_host
    if url.scheme not in {"http", "https"} or not host:
        raise Unreadable("bad_url")
    usual = _usual_form(host)
    try:
        public = is_public(usual)
    except ValueError:
        if ":" in usual or usual.replace(".", "").isdigit():
            raise Unreadable("bad_url") from None  # it looks like an address, and is none
        return url
    if not (public or allow_private):
        raise Unreadable("private_address")
    return url if usual == host else url.with_host(usual)


def _usual_form(host: str) -> str:
    """Return a.b.c.d for the decimal, octal, hexadecimal and short forms that systems accept."""
    try:
        return socket.inet_ntoa(socket.inet_aton(host.rstrip(".")))
    except (OSError, UnicodeError):
        return host


class Resolver(AbstractResolver):
    """Resolves names, and refuses those that stand for a private address."""

    def __init__(self, allow_private: bool, resolver: AbstractResolver | None = None) -> None:
        """Use the system's resolver, in threads, unless another is given."""
        self._resolver = resolver or aiohttp.ThreadedResolver()
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AddressFamily.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host`. Raises Unreadable when one is private."""
        results = await self._resolver.resolve(host, port, family)
        if not self._allow_private and not all(is_public(result["host"]) for result in results):
            raise Unreadable("private_address")
        return results

    async def close(self) -> None:
        """Release what the system's resolver holds."""
        await self._resolver.close()

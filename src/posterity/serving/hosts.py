"""Which names a server answers to: a page of another name could otherwise reach it through the browser of its user."""

import ipaddress
from collections.abc import Collection

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there.

    Examples
    --------
    >>> [is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    return host.lower() == "localhost" or ((address := _address(host)) is not None and address.is_loopback)


def name_of(authority: str) -> str:
    """The host of the header Host, without its port, in lower case.

    Examples
    --------
    >>> [name_of(text) for text in ("LOCALHOST:8000", "[::1]:80", "example.org.", "::1")]
    ['localhost', '::1', 'example.org', '::1']
    """
    text = authority.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    host, colon, _ = text.rpartition(":")
    return (host if colon and ":" not in host else text).rstrip(".")


class Hosts:
    """The names that requests may be for.

    By DNS rebinding, a page of a stranger's name reaches a server on the machine of whoever looks at it: the name is
    made to mean 127.0.0.1. It can do nothing about the header Host, which keeps that name.

    Parameters
    ----------
    bound : str
        Where the server listens. If that is every address of the machine, all addresses are right: whoever writes one
        has asked no name server.
    names : collection of str
        More names that are right.
    """

    def __init__(self, bound: str, names: Collection[str] = ()) -> None:
        self._names = {*LOOPBACK, bound.lower(), *(name_of(name) for name in names)}
        address = _address(bound)
        self._any_address = address is not None and address.is_unspecified

    def allow(self, authority: str) -> bool:
        """Whether a request with this header Host is for this server.

        Examples
        --------
        >>> hosts = Hosts("127.0.0.1", ["posters.example.org"])
        >>> [hosts.allow(text) for text in ("127.0.0.1:8000", "posters.example.org", "evil.example.com", "10.0.0.1")]
        [True, True, False, False]
        >>> Hosts("0.0.0.0").allow("10.0.0.1:8000")
        True
        """
        name = name_of(authority)
        return name in self._names or (self._any_address and _address(name) is not None)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None

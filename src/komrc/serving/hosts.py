"""Which ``Host`` and ``Origin`` headers a server accepts.

A web page can make a browser send requests to this machine: under the page's own host name, if its owner
lets that name resolve to 127.0.0.1 (DNS rebinding, visible in ``Host``), or across origins (visible in
``Origin``). The browser sets both headers; the page can't change them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence

from komrc.errors import UsageError
from komrc.serving.errors import ErrorBody

_NAME = re.compile(r"(\[[0-9a-f:.%]+\]|[^\s\[\]/:@]+)(?::\d*)?")
_PORTS = {"http": "80", "https": "443"}

_FOREIGN_HOST = ErrorBody(
    403, "host", "This server does not answer under this host name. Start it with --allowed-hosts NAME"
)
_FOREIGN_ORIGIN = ErrorBody(
    403, "origin", "Pages of this origin may not call this server. Start it with --cors-origin ORIGIN"
)


class HostRules:
    """The allowed host names and origins of a server.

    Loopback names are always allowed, and so is the address that the server listens on. If it listens on
    every interface, every IP address is allowed: in a DNS rebinding attack the browser sends a name, not an
    address.

    Args:
        bind: the address that the server listens on.
        names: further names; ``*.example.com`` is any name below that one, ``*`` is any.
        origins: origins whose pages may call the server; ``*`` is any.

    Raises UsageError for a name that can't be in a ``Host`` header.
    """

    def __init__(self, bind: str, names: Sequence[str], origins: Sequence[str]) -> None:
        self._names = {bind.lower(), "localhost"}
        self._below: list[str] = []
        self._any = "*" in names
        self._any_address = _is_unspecified(bind)
        for name in names:
            plain = _name_of(name.removeprefix("*."))
            if plain is None:
                raise UsageError(
                    "is not a host name",
                    where="--allowed-hosts",
                    fix="give a name such as example.com, without http:// and path",
                )
            if name.startswith("*."):
                self._below.append("." + plain)
            else:
                self._names.add(plain)
        self._origins = {origin.lower().rstrip("/") for origin in origins}

    def check(self, headers: Mapping[bytes, bytes]) -> ErrorBody | None:
        """The rejection of a request with these headers; None if it is allowed."""
        host = headers.get(b"host")
        if host is not None and not self._is_allowed_host(
            host.decode("latin-1")
        ):  # HTTP/1.0 has none; browsers do
            return _FOREIGN_HOST
        origin = headers.get(b"origin")
        if origin is not None and not self._is_allowed_origin(
            origin.decode("latin-1").lower(), (host or b"").decode("latin-1").lower()
        ):
            return _FOREIGN_ORIGIN
        return None

    def _is_allowed_host(self, host: str) -> bool:
        name = _name_of(host)
        if name is None:
            return False
        if self._any or name in self._names or name.endswith(tuple(self._below)):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._any_address or address.is_loopback

    def _is_allowed_origin(self, origin: str, host: str) -> bool:
        if origin in self._origins or "*" in self._origins:
            return True
        scheme, _, place = origin.partition("://")
        port = _PORTS.get(scheme)
        return port is not None and place.removesuffix(f":{port}") == host.removesuffix(f":{port}") != ""


def _name_of(host: str) -> str | None:
    """The name or address in a ``Host`` header, lower case, without port; None if it is invalid."""
    match = _NAME.fullmatch(host.strip().lower())
    return match[1].strip("[]").rstrip(".") or None if match else None


def _is_unspecified(address: str) -> bool:
    try:
        return address == "" or ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False

"""Public IP addresses: not private and documentation ranges, well-known resolvers, networks and version numbers."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address, IPv6Network
from typing import Final

from services.guard.matching.overlaps import Found
from services.guard.matching.patterns import Pattern, Place
from services.guard.personal_data.context import Words

__all__ = ["IP_ADDRESSES"]

_RESOLVERS: Final = frozenset(
    {
        "1.0.0.1",
        "1.1.1.1",
        "8.8.4.4",
        "8.8.8.8",
        "9.9.9.9",
        "77.88.8.1",
        "77.88.8.8",
        "208.67.220.220",
        "208.67.222.222",
    }
    | {
        "2001:4860:4860::8888",
        "2001:4860:4860::8844",
        "2606:4700:4700::1111",
        "2606:4700:4700::1001",
        "2a02:6b8::feed:ff",
    }
)
_VERSION: Final = Words(
    r"(?:(?:\bv|\bver|versions?|release|revision|\brev|build|firmware|верси[яиюей]+|сборк[аиу]|релиз|прошивк[аиу]|sürüm[ü]?"
    r"|section|chapter|clause|§|\bп|пункт|раздел|глав[аеы]|стать[яи]|madde|bölüm|\boid)\.?[\"'`]?\s*[:=№#]?\s*[\"'`]?v?"
    r"|[=<>~^!]=\s*|[~^])\Z",
    24,
)
"""Words directly before a number of four parts that is no address."""
_LEAST_LARGEST: Final = 32
"""Four parts that are all smaller are nearly always a version or a section: one address in 4,000 is like that."""
_WORDS: Final = Words(
    r"\bips?\b|\bip_?\w*|addr\w*|адрес\w*|host\w*|хост\w*|client\w*|remote|ssh|ping|nslookup|traceroute|sunucu\w*",
    40,
)
_PRODUCT: Final = re.compile(r"[A-Za-z][/-]\Z")
"""`Name/1.2.3.4` of a user agent, `name-1.2.3.4` of a package."""
_NETWORK: Final = re.compile(r"/(\d{1,3})(?!\d)")
_TRANSLATED: Final = IPv6Network("64:ff9b::/96")
_INSIDE: Final = frozenset("-.")


def _check_v4(place: Place) -> Found | None:
    parts = [int(part) for part in place.value.split(".")]
    if max(parts) > 255 or parts[0] == 0 or parts[3] == 0 or _joined(place):
        return None
    if max(parts) < _LEAST_LARGEST and not _WORDS.precede(place):
        return None
    if not _is_public_v4(place.value) or _is_version(place) or _is_network(place, 32):
        return None
    return Found(place.start, place.end, "ip_address")


def _is_public_v4(value: str) -> bool:
    try:
        address = IPv4Address(value)
    except AddressValueError:  # a part with a leading zero
        return False
    return address.is_global and not address.is_multicast and value not in _RESOLVERS


def _check_v6(place: Place) -> Found | None:
    if place.text.character_before(place.start) in {":", ".", "-", "_"}:
        return None
    value = place.value
    address = _v6(value)
    if address is None:
        value = value.rpartition(":")[0]  # a port may follow
        address = _v6(value)
    if (
        address is None
        or not _is_public_v6(address)
        or value.lower() in _RESOLVERS
        or _is_network(place, 128)
    ):
        return None
    return Found(place.start, place.start + len(value), "ip_address")


def _is_public_v6(address: IPv6Address) -> bool:
    """Of an IPv4 address in an IPv6 one (RFC 4291 2.5.5, RFC 6052), whether that is public."""
    inner = address.ipv4_mapped
    if inner is None and address in _TRANSLATED:
        inner = IPv4Address(int(address) & 0xFFFFFFFF)
    return address.is_global if inner is None else _is_public_v4(str(inner))


def _v6(value: str) -> IPv6Address | None:
    try:
        return IPv6Address(value)
    except AddressValueError:
        return None


def _joined(place: Place) -> bool:
    """Whether further parts belong to it, as in 1.2.3.4.5 or 1.2.3.4-beta."""
    before, after = place.text.before(place.start, 2), place.text.after(place.end, 2)
    if before[-1:] in {".", "_"} or after[:1] == "_":
        return True
    return after[:1] in _INSIDE and after[1:].isalnum() and not (after[0] == "-" and after[1].isdigit())


def _is_version(place: Place) -> bool:
    return _VERSION.precede(place) or _PRODUCT.search(place.text.before(place.start, 2)) is not None


def _is_network(place: Place, bits: int) -> bool:
    network = _NETWORK.match(place.text.after(place.end, 4))
    return network is not None and int(network[1]) < bits


IP_ADDRESSES: Final = (
    Pattern(r"\b\d{1,3}(?:\.\d{1,3}){3}\b", _check_v4),
    Pattern(
        r"(?:::|\b(?:0{1,4}:){1,5}:?)ffff:(?:0{1,4}:)?(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]{1,4}:[0-9a-f]{1,4})\b"
        r"|\b64:ff9b::(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]{1,4}:[0-9a-f]{1,4})\b",
        _check_v6,
        hint=r"(?i::ffff:|64:ff9b::)",
        ignore_case=True,
    ),
    Pattern(
        r"\b[23][0-9a-f]{3}:[0-9a-f:]{2,34}[0-9a-f:]",
        _check_v6,
        hint=r"\b[23][0-9a-fA-F]{3}:",
        ignore_case=True,
    ),
)

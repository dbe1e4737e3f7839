"""Where alerts may be sent: addresses of the Internet, and nothing that only we can reach. Pure.

A webhook is entered by people and called by us, from inside the network: without these rules it could reach what they
cannot, such as the platform's metadata service (OWASP, "Server-Side Request Forgery Prevention").
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

MAX_URL_LENGTH: Final = 2048
MAX_LABEL_LENGTH: Final = 63
"""Of a part of a host name (RFC 1035)."""

_NOT_PUBLIC: Final = [
    ip_network(text)
    for text in (
        # iana.org, "IPv4 Special-Purpose Address Registry", and multicast
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        # Azure's own, public by its number only (learn.microsoft.com, "What is IP address 168.63.129.16?")
        "168.63.129.16/32",
        # of the one block of IPv6 that is public: iana.org, "IPv6 Special-Purpose Address Registry"; 2001::/32 (Teredo)
        # and 2002::/16 (6to4) carry an address of IPv4 inside
        "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
    )
]  # fmt: skip
_PUBLIC_IPV6: Final = ip_network("2000::/3")
"""Outside of it are loopback, link-local, unique local and multicast addresses, those that carry one of IPv4 (mapped,
compatible, NAT64), and what is reserved."""


def is_public(address: str) -> bool:
    """Whether a numeric address, perhaps with a zone (`fe80::1%eth0`), is of the Internet. False for any other text."""
    try:
        number: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return False
    if number.version == 6 and (number not in _PUBLIC_IPV6 or "%" in address):
        return False
    return not any(number in network for network in _NOT_PUBLIC if network.version == number.version)


def fault_of_webhook(url: str, *, allow_private: bool) -> str | None:
    """What is wrong with a webhook, for the sentence "expected …"; None if nothing is. It never repeats the URL.

    A name is looked up only when something is sent, and checked then.
    """
    if len(url) > MAX_URL_LENGTH:
        return f"a URL of at most {MAX_URL_LENGTH} characters"
    schemes = ("https", "http") if allow_private else ("https",)
    expected = f"a URL such as {schemes[-1]}://example.com/hook, in ASCII"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return expected
    if parts.scheme not in schemes or not host or port == 0 or not url.isascii() or not url.isprintable():
        return expected
    if " " in url or "\\" in url:
        return expected
    labels = host.removesuffix(".").split(".")
    if ":" not in host and not all(0 < len(label) <= MAX_LABEL_LENGTH for label in labels):
        return f"{expected}, whose host name has no empty part and none of more than {MAX_LABEL_LENGTH} characters"
    if parts.username is not None or parts.password is not None:
        return f"{expected}, without user and password"
    if not allow_private and _is_number(host) and not is_public(host):
        return f"{expected}, with an address of the Internet (ALERT_WEBHOOK_ALLOW_PRIVATE allows others)"
    return None


def masked(url: str) -> str:
    """Where a webhook leads, without path and query, which are often its secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/…"


def _is_number(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True

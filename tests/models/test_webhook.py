"""models.webhook: what may be called, and how it is shown."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.webhook import fault_of_webhook, is_public, masked

PRIVATE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1",
    "127.255.255.254", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.170", "192.0.2.1", "192.88.99.1",
    "192.168.1.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "168.63.129.16", "::", "::1", "::127.0.0.1", "::ffff:8.8.8.8", "::ffff:127.0.0.1",
    "::ffff:0:8.8.8.8", "64:ff9b::8.8.8.8", "64:ff9b:1::1", "100::1", "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2002:7f00:1::", "2002:808:808::", "3fff::1", "4000::1",
    "5f00::1", "fc00::1", "fd12::1", "fe80::1", "fec0::1", "ff02::1", "2606:4700::1%1",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "20.42.0.1", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "2a00:1450::1",
    "2603:1030::1",
]  # fmt: skip


@pytest.mark.parametrize("address", [*PRIVATE, "localhost", "", "127.1", "0x7f000001", "2130706433"])
def test_not_of_the_internet(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_of_the_internet(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses())
def test_never_more_is_public_than_the_standard_library_says(address: IPv4Address | IPv6Address) -> None:
    if is_public(str(address)):
        assert address.is_global
        assert not address.is_multicast


@given(st.ip_addresses(v=4))
def test_an_address_of_ipv4_inside_of_another_is_refused(address: IPv4Address) -> None:
    number = int(address)
    for inside in (number, 0xFFFF << 32 | number, 0x0064FF9B << 96 | number, 0x2002 << 112 | number << 80):
        assert not is_public(str(IPv6Address(inside)))


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook", "https://example.com:8443/a?sig=b%20c#d", "https://8.8.8.8/x",
        "https://[2606:4700::1]:1/", "https://xn--bcher-kva.example/",
    ],
)  # fmt: skip
def test_a_good_webhook(url: str) -> None:
    assert fault_of_webhook(url, allow_private=False) is None


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com", "//example.com/x", "https://", "https:///x", "https://:443/x", "ftp://example.com/secret",
        "file:///etc/passwd", "gopher://example.com/", "http://example.com/", "https://a:secret@example.com/",
        "https://a@example.com/", "https://example.com:0/", "https://example.com:99999/", "https://exa mple.com/",
        "https://example.com/secret b", "https://example.com/\r\nX: y", "https://bücher.example/", "https://[::1/",
        "https://example.com\\@127.0.0.1/", "https://x.example/" + "a" * 2048,
        *(f"https://{address}/" for address in PRIVATE if ":" not in address),
        *(f"https://[{address}]/" for address in PRIVATE if ":" in address and "%" not in address),
    ],
)  # fmt: skip
def test_a_bad_one(url: str) -> None:
    fault = fault_of_webhook(url, allow_private=False)
    assert fault is not None
    assert "secret" not in fault


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/hook", "http://localhost/x", "https://10.0.0.4/x"])
def test_private_ones_where_they_are_allowed(url: str) -> None:
    assert fault_of_webhook(url, allow_private=True) is None


@given(st.text(max_size=60).filter(lambda text: "/" not in text and "?" not in text and "#" not in text))
def test_what_is_shown_of_it(secret: str) -> None:
    assert (
        masked(f"https://hooks.example.com:8443/services/{secret}?sig={secret}") == "https://hooks.example.com:8443/…"
    )


def test_the_names_of_the_rule_are_networks() -> None:
    assert ip_address("168.63.129.16").is_global, "Azure's own address is what the standard library lets through"

"""Addresses and blocks."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.eql.address import Blocks, canonical_text, parse_address, parse_block

V4, V6 = st.ip_addresses(v=4), st.ip_addresses(v=6)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("::FFFF:cb00:7109", "203.0.113.9"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("::", "::"),
        ("::203.0.113.9", "::cb00:7109"),
    ],
)
def test_canonical_text(text: str, canonical: str) -> None:
    address = parse_address(text)
    assert address is not None
    assert canonical_text(address) == canonical
    assert parse_address(canonical) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "localhost",
        "10.0.0",
        "10.0.0.256",
        "10.0.0.01",
        "10.0.0.1 ",
        "10.0.0.1:80",
        "10.0.0.0/8",
        "167772161",
        "0x0a.0.0.1",
        "[::1]",
        "fe80::1%eth0",
        "fe80::1%",
        "::1::",
        "12345::",
        "١.0.0.1",
        "1" * 100_000,
        ":" * 40,
        "\ud800",
    ],
)
def test_no_address(text: str) -> None:
    assert parse_address(text) is None


@given(st.text("0123456789abcdef.:%/ \ud800", max_size=50) | st.text())
def test_any_text_is_an_address_or_not(text: str) -> None:
    address = parse_address(text)
    assert address is None or parse_address(canonical_text(address)) == address


@given(V4)
def test_mapped_address_is_the_address(address: ipaddress.IPv4Address) -> None:
    assert parse_address(f"::ffff:{address}") == parse_address(str(address))


@given(V4, V4)
def test_order_is_numeric(a: ipaddress.IPv4Address, b: ipaddress.IPv4Address) -> None:
    left, right = parse_address(str(a)), parse_address(str(b))
    assert left is not None
    assert right is not None
    assert (left < right) is (a < b)


@pytest.mark.parametrize(
    ("block", "inside", "outside"),
    [
        ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], ["9.255.255.255", "11.0.0.0"]),
        ("10.77.1.2/8", ["10.0.0.0", "10.255.255.255"], ["11.0.0.0"]),
        ("192.0.2.7", ["192.0.2.7"], ["192.0.2.6", "192.0.2.8"]),
        ("192.0.2.7/32", ["192.0.2.7"], ["192.0.2.6"]),
        ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255"], ["::", "::1", "ffff::"]),
        ("::1", ["0:0:0:0:0:0:0:1"], ["::2", "0.0.0.1"]),
        ("fe80::/10", ["fe80::1", "febf:ffff::"], ["fec0::", "10.0.0.1"]),
        ("::/0", ["::", "ffff::", "2001:db8::1"], ["10.0.0.1", "::ffff:10.0.0.1", "255.255.255.255"]),
        ("::ffff:0:0/96", ["10.0.0.1"], ["::fffe:ffff:ffff", "::1:0:0:0"]),
        ("::ffff:10.0.0.0/104", ["10.1.2.3", "::ffff:10.1.2.3"], ["11.0.0.0"]),
        ("10.0.0.0/08", ["10.1.2.3"], ["11.0.0.0"]),
    ],
)
def test_block(block: str, inside: list[str], outside: list[str]) -> None:
    blocks = Blocks([block])
    numbers = {text: parse_address(text) for text in inside + outside}
    held = [text for text, number in numbers.items() if number is not None and blocks.contains(number)]
    assert held == inside


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/8 ",
        "10.0.0.0/8/8",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/٨",
        "10.0.0.0/" + "9" * 5000,
        "::/129",
        "10.0.0/8",
        "10.*",
        "fe80::%eth0/10",
    ],
)
def test_bad_block(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse_block(text)


BLOCK = st.one_of(
    st.tuples(V4, st.integers(0, 32)).map(lambda pair: f"{pair[0]}/{pair[1]}"),
    st.tuples(V6, st.integers(0, 128)).map(lambda pair: f"{pair[0]}/{pair[1]}"),
)


@given(st.lists(BLOCK, max_size=6), V4 | V6)
def test_blocks_hold_what_the_networks_hold(
    blocks: list[str], address: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> None:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    expected = any(address in ipaddress.ip_network(block, strict=False) for block in blocks)
    number = parse_address(str(address))
    assert number is not None
    assert Blocks(blocks).contains(number) is expected


def test_no_blocks_hold_nothing() -> None:
    assert not Blocks([]).contains(0)

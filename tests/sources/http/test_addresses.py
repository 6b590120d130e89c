"""Which addresses may be reached, however they are written."""

import asyncio

import pytest
from aiohttp.abc import AbstractResolver
from yarl import URL

from darkroom.sources.entries import Unreadable
from darkroom.sources.http.addresses import Resolver, check_url, is_public


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True), ("2606:2800:220:1::1", True), ("64:ff9b::5db8:d822", True),
        ("127.0.0.1", False), ("10.1.2.3", False), ("192.168.0.1", False), ("172.16.0.1", False),
        ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False),
        ("224.0.0.1", False), ("255.255.255.255", False), ("::", False), ("::1", False),
        ("fe80::1%eth0", False), ("fc00::1", False), ("ff02::1", False),
        ("::ffff:127.0.0.1", False), ("::ffff:7f00:1", False), ("::127.0.0.1", False),
        ("2002:7f00:1::", False), ("64:ff9b::7f00:1", False), ("64:ff9b:1::1", False),
        ("fec0::1", False), ("192.0.0.192", False),
    ],
)  # fmt: skip
def test_private_addresses_are_told_apart(address, public):
    assert is_public(address) is public


def test_a_name_is_no_address():
    with pytest.raises(ValueError, match="does not appear to be"):
        is_public("example.org")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://127.0.0.1./", "http://127.1/", "http://2130706433/",
        "http://0177.0.0.1/", "http://017700000001/", "http://0x7f.0.0.1/", "http://0x7f000001/",
        "http://0/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/",
        "http://[0:0:0:0:0:0:0:1]/", "http://[fe80::1]/", "http://169.254.169.254/latest/meta-data",
        "http://2852039166/", "http://example.org@127.0.0.1/", "http://example.org:80@[::1]/",
        "https://10.0.0.1:8443/", "http://１２７.0.0.1/",
    ],
)  # fmt: skip
def test_private_addresses_are_refused_however_they_are_written(url):
    with pytest.raises(Unreadable) as caught:
        check_url(URL(url), allow_private=False)
    assert caught.value.reason == "private_address"


@pytest.mark.parametrize(
    "url", ["ftp://a.org/", "file:///etc/passwd", "http:///x", "//a.org/x", "http://1.2.3.4.5/"]
)
def test_what_is_no_web_address_is_refused(url):
    with pytest.raises(Unreadable) as caught:
        check_url(URL(url), allow_private=True)
    assert caught.value.reason == "bad_url"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://93.184.216.34/x", "93.184.216.34"), ("http://1572395042/x", "93.184.216.34"),
        ("http://example.org/x", "example.org"), ("http://127.0.0.1@example.org/", "example.org"),
        ("http://[2606:2800:220:1::1]/", "2606:2800:220:1::1"),
    ],
)  # fmt: skip
def test_public_hosts_pass_in_their_usual_form(url, host):
    assert check_url(URL(url), allow_private=False).raw_host == host


def test_a_parameter_allows_private_addresses():
    assert check_url(URL("http://2130706433:81/x"), True) == URL("http://127.0.0.1:81/x")


class Zone(AbstractResolver):
    """A name server that changes its mind, as in DNS rebinding."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def resolve(self, host, port=0, family=0):
        hosts = self.answers.pop(0)
        return [{"hostname": host, "host": each, "port": port, "family": family, "proto": 0,
                 "flags": 0} for each in hosts]  # fmt: skip

    async def close(self):
        pass


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::1"]])
def test_a_name_for_a_private_address_is_refused_at_every_look_up(addresses):
    """The connection goes to the very addresses that `resolve` returns: there is no second one."""
    resolver = Resolver(False, Zone(["93.184.216.34"], addresses))
    found = asyncio.run(resolver.resolve("rebinding.example", 80))
    assert [each["host"] for each in found] == ["93.184.216.34"]
    with pytest.raises(Unreadable, match="private_address"):
        asyncio.run(resolver.resolve("rebinding.example", 80))


@pytest.mark.parametrize("name", ["localhost", "localhost.", "LOCALHOST"])
def test_names_of_this_machine_are_refused(name):
    with pytest.raises((Unreadable, OSError), match=r"private_address|not known"):
        asyncio.run(_look_up(name))


async def _look_up(name):
    resolver = Resolver(False)
    try:
        return await resolver.resolve(str(URL(f"http://{name}/").raw_host), 80)
    finally:
        await resolver.close()

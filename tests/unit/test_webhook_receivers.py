"""Where webhooks may go: no URL leads to what only this system can reach."""

from ipaddress import ip_address

import pytest

from satellite.errors import ConfigError, InvalidRequest
from satellite.webhooks.receivers import ForbiddenReceiver, Receivers, UnknownHost

PUBLIC = ("93.184.215.14", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")
NOT_PUBLIC = (
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
)


def receivers(*addresses, **options):
    """Receivers for which every name has these addresses."""

    async def resolve(host, port):
        if not addresses:
            raise OSError("no such name")
        return addresses

    return Receivers(resolve=resolve, **options)


@pytest.mark.parametrize("address", PUBLIC)
async def test_a_name_with_public_addresses_is_reached_at_these(address):
    there = receivers(address)
    (found,) = await there.addresses(there.parse("https://example.org/hook?a=b"))
    assert found == ip_address(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
async def test_a_name_with_one_address_that_is_not_public_is_refused(address):
    there = receivers("8.8.8.8", address)
    with pytest.raises(ForbiddenReceiver, match=r"example\.org is not on the public internet") as caught:
        await there.addresses(there.parse("https://example.org/"))
    assert address not in str(caught.value).split()  # it would tell of our network


@pytest.mark.parametrize("address", [address for address in NOT_PUBLIC if "%" not in address])
def test_an_address_that_is_not_public_is_refused_at_sight(address):
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(ForbiddenReceiver, match="not on the public internet"):
        receivers().parse(f"http://{host}/")


@pytest.mark.parametrize("host", ["0x7f.1", "2130706433", "017700000001", "127.1", "localhost", "localhost."])
async def test_other_ways_to_write_this_machine_are_resolved_and_refused(host):
    there = Receivers()  # with the real resolver
    with pytest.raises((ForbiddenReceiver, UnknownHost)):
        await there.addresses(there.parse(f"http://{host}/"))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.org/", "https://"),
        ("file:///etc/passwd", "https://"),
        ("gopher://example.org:80/", "https://"),
        ("/hook", "https://"),
        ("https://", "https://"),
        ("", "https://"),
        ("https://me:secret@example.org/", "user"),
        ("https://me@example.org/", "user"),
        ("https://example.org/#part", "#"),
        ("https://example.org:22/", "ports"),
        ("http://8.8.8.8:6379/", "ports"),
        ("http://example.org:0/", "URL"),
        ("https://example.org:99999/", "URL"),
        ("https://exa mple.org/", "spaces"),
        ("https://example.org/\r\nX-Evil: 1", "control"),
        ("https://example.org/\0", "control"),
        ("https://[::1", "URL"),
        ("https://example.org/" + "a" * 2100, "2048"),
    ],
)
def test_what_is_no_url_for_a_webhook_is_refused(url, why):
    with pytest.raises(ForbiddenReceiver, match=why):
        receivers().parse(url)


async def test_what_is_allowed_is_reached_on_any_port():
    there = receivers("10.1.2.3", allow=("hook.corp", "*.intra.example", "10.1.0.0/16", "fd00::/8"))
    for url in ("http://hook.corp:9000/", "http://a.b.intra.example:1/", "http://other.org:9000/"):
        assert [str(a) for a in await there.addresses(there.parse(url))] == ["10.1.2.3"]
    there.parse("http://10.1.9.9:8080/")
    there.parse("http://[fd12::1]:8080/")
    for url in ("http://10.2.0.1/", "http://127.0.0.1/", "http://[fe80::1]/"):
        with pytest.raises(ForbiddenReceiver):
            there.parse(url)
    # An allowed network opens its ports to no one else.
    elsewhere = receivers("8.8.8.8", allow=("10.1.0.0/16", "*.intra.example"))
    for url in ("http://example.org:9000/", "http://intra.example:9000/", "http://xintra.example:9000/"):
        with pytest.raises(ForbiddenReceiver, match="ports"):
            await elsewhere.addresses(elsewhere.parse(url))


@pytest.mark.parametrize("entry", ["http://a", "10.0.0.0/33", "a b", "*", "*.", "a:80"])
def test_what_cannot_be_allowed_says_so(entry):
    with pytest.raises(ConfigError, match="SATELLITE_WEBHOOK_ALLOW"):
        Receivers(allow=(entry,))


async def test_a_request_is_told_where_and_why():
    with pytest.raises(InvalidRequest) as caught:
        await receivers("10.0.0.1").admit("https://example.org/", "/webhook/url", must_resolve=False)
    assert caught.value.errors[0]["pointer"] == "/webhook/url"
    with pytest.raises(InvalidRequest, match="cannot be resolved"):
        await receivers().admit("https://example.org/", "/url", must_resolve=True)
    # A name that cannot be resolved now is no reason to refuse a job.
    there = await receivers().admit("https://example.org/", "/webhook/url", must_resolve=False)
    assert there.key == "example.org:443"


async def test_a_name_is_resolved_anew_for_every_try_but_once_for_the_same_requests():
    seen = []

    async def resolve(host, port):
        seen.append(host)
        return ["8.8.8.8"] if len(seen) == 1 else ["127.0.0.1"]

    there = Receivers(resolve=resolve)
    for _ in range(3):
        receiver = await there.admit("https://example.org/", "/webhook/url", must_resolve=False)
    assert len(seen) == 1
    with pytest.raises(ForbiddenReceiver):  # the name leads elsewhere by now
        await there.addresses(receiver)

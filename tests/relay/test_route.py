"""Routes, with a real name server on loopback that answers from a table."""

import asyncio

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from mssgw.core.address import Domain
from mssgw.core.config.domain import Route
from mssgw.core.errors import Deferred, Refused
from mssgw.relay.client import Target
from mssgw.relay.route import Router

NXDOMAIN, SERVFAIL, SILENT, GARBAGE = "nxdomain", "servfail", "silent", "garbage"


class NameServer(asyncio.DatagramProtocol):
    """A name server that answers from a table: (name, type) -> record texts, or a way to fail. A name that is in no key doesn't exist."""

    def __init__(self):
        self.table, self.ttl, self.asked = {}, 300, []

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, peer):
        query = dns.message.from_wire(data)
        (question,) = query.question
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        records = self.table.get((name, kind))
        if records is SILENT:
            return
        if records is SERVFAIL:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif records is NXDOMAIN or (records is None and not any(known == name for known, _ in self.table)):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif records:
            answer.answer.append(dns.rrset.from_text(question.name, self.ttl, "IN", kind, *records))
        self.transport.sendto(b"\0\1garbage" if records is GARBAGE else answer.to_wire(), peer)


@pytest.fixture
async def names():
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    yield server
    transport.close()


@pytest.fixture
def router(names, clock):
    def make(**given):
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = names.transport.get_extra_info("sockname")[1]
        resolver.timeout, resolver.retry_servfail = 0.05, False
        return Router(given.pop("routes", ()), clock, resolver=resolver, **given)

    return make


def addresses(targets):
    return [target.address for target in targets]


async def test_a_static_route_asks_nobody(router, names):
    made = router(routes=[Route(Domain("beta.test"), "mx.internal", 2525)])
    assert await made.targets(Domain("beta.test")) == (Target("mx.internal", 2525),)
    assert names.asked == []


async def test_by_preference_with_all_addresses(router, names):  # RFC 5321 5.1
    names.table = {
        ("beta.test", "MX"): ["20 second.beta.test.", "10 first.beta.test."],
        ("first.beta.test", "A"): ["192.0.2.1"],
        ("first.beta.test", "AAAA"): ["2001:db8::1"],
        ("second.beta.test", "A"): ["192.0.2.2"],
    }
    targets = await router(port=2525).targets(Domain("beta.test"))
    assert set(addresses(targets)[:2]) == {"192.0.2.1", "2001:db8::1"}
    assert targets[2] == Target("second.beta.test", 2525, "192.0.2.2")


async def test_equal_preferences_share_the_load(router, names):
    names.table = {("beta.test", "MX"): [f"10 mx{n}.beta.test." for n in range(4)]}
    names.table |= {(f"mx{n}.beta.test", "A"): [f"192.0.2.{n}"] for n in range(4)}
    made = router()
    firsts = {(await made.targets(Domain("beta.test")))[0].address for _ in range(60)}
    assert len(firsts) > 1


async def test_without_mx_the_domain_itself(router, names):
    names.table = {("beta.test", "A"): ["192.0.2.9"]}
    assert await router().targets(Domain("beta.test")) == (Target("beta.test", 25, "192.0.2.9"),)


@pytest.mark.parametrize(
    ("table", "enhanced"),
    [
        ({("beta.test", "MX"): ["0 ."]}, "5.1.10"),
        ({}, "5.1.2"),
        ({("beta.test", "TXT"): ['"x"']}, "5.4.4"),
        ({("beta.test", "MX"): ["10 gone.beta.test."]}, "5.4.4"),
    ],
)
async def test_no_way_is_permanent(router, names, table, enhanced):  # RFC 7505
    names.table = table
    with pytest.raises(Refused) as told:
        await router().targets(Domain("beta.test"))
    assert told.value.reply.enhanced == enhanced
    assert "beta.test" in told.value.reply.text


@pytest.mark.parametrize(
    "table",
    [
        {("beta.test", "MX"): SERVFAIL},
        {("beta.test", "MX"): ["10 mx.beta.test."], ("mx.beta.test", "A"): SERVFAIL, ("mx.beta.test", "AAAA"): SERVFAIL},
        {("beta.test", "MX"): ["10 mx.beta.test."], ("mx.beta.test", "A"): SERVFAIL},
    ],
)
async def test_not_knowing_is_temporary(router, names, table):
    names.table = table
    with pytest.raises(Deferred) as told:
        await router().targets(Domain("beta.test"))
    assert told.value.reply.enhanced == "4.4.3"


@pytest.mark.parametrize("how", [SILENT, GARBAGE])
async def test_silence_and_garbage_are_temporary(router, names, how, monkeypatch):
    monkeypatch.setattr("mssgw.relay.route.LOOKUP_SECONDS", 0.2)
    names.table = {("beta.test", "MX"): how}
    with pytest.raises(Deferred):
        await router().targets(Domain("beta.test"))


async def test_one_dead_host_does_not_hide_the_other(router, names):
    names.table = {
        ("beta.test", "MX"): ["10 a.beta.test.", "20 b.beta.test."],
        ("a.beta.test", "A"): SERVFAIL,
        ("a.beta.test", "AAAA"): SERVFAIL,
        ("b.beta.test", "A"): ["192.0.2.2"],
    }
    assert addresses(await router().targets(Domain("beta.test"))) == ["192.0.2.2"]


@pytest.mark.parametrize("ourselves", [["MX.alpha.test"], ["192.0.2.5"]])
async def test_we_and_all_behind_us_are_left_out(router, names, ourselves):
    names.table = {
        ("beta.test", "MX"): ["10 mx.beta.test.", "20 mx.alpha.test.", "30 backup.beta.test."],
        ("mx.beta.test", "A"): ["192.0.2.1"],
        ("mx.alpha.test", "A"): ["192.0.2.5"],
        ("backup.beta.test", "A"): ["192.0.2.6"],
    }
    assert addresses(await router(ourselves=ourselves).targets(Domain("beta.test"))) == ["192.0.2.1"]


async def test_only_ourselves_is_a_loop(router, names):
    names.table = {("beta.test", "MX"): ["10 mx.alpha.test."], ("mx.alpha.test", "A"): ["192.0.2.5"]}
    for ourselves in (["mx.alpha.test"], ["192.0.2.5"]):
        with pytest.raises(Refused) as told:
            await router(ourselves=ourselves).targets(Domain("beta.test"))
        assert told.value.reply.enhanced == "5.4.6"


@pytest.mark.parametrize(("ttl", "kept"), [(1, 60), (300, 300), (999_999, 3600)])
async def test_answers_are_kept_within_bounds(router, names, clock, ttl, kept):
    names.ttl, names.table = ttl, {("beta.test", "A"): ["192.0.2.9"], ("beta.test", "MX"): ["10 beta.test."]}
    made = router()
    await made.targets(Domain("beta.test"))
    asked = len(names.asked)
    clock.advance(kept - 1)
    await made.targets(Domain("beta.test"))
    assert len(names.asked) == asked
    clock.advance(1)
    await made.targets(Domain("beta.test"))
    assert len(names.asked) == 2 * asked


async def test_a_refusal_is_kept_for_a_minute_and_not_longer(router, names, clock):
    made = router()
    for _ in range(2):
        with pytest.raises(Refused):
            await made.targets(Domain("beta.test"))
    assert names.asked == [("beta.test", "MX")]
    names.table = {("beta.test", "A"): ["192.0.2.9"]}
    clock.advance(60)
    assert addresses(await made.targets(Domain("beta.test"))) == ["192.0.2.9"]

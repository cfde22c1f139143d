"""Whom a program believes: only leases for it, for this call, signed under the pinned root."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import seatkeeper
from seatkeeper._fake_api import Request
from seatkeeper.protocol.envelopes import unb64url
from seatkeeper.protocol.ids import b64url
from seatkeeper.testing import FakeServer
from tests.client.program import Program, Rewriting, Tampering


def _signing(server: FakeServer, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Make a server sign its leases over a place that is another in these respects."""
    sign = server._api.signer.lease

    def signed(place: Any, *more: Any) -> str:
        return sign(replace(place, **changes), *more)

    monkeypatch.setattr(server._api.signer, "lease", signed)


def _return(server: FakeServer, token: str) -> Request:
    """Give what a proxy sends that saw a token."""
    headers = {"n-tenantid": server.tenant, "authorization": f"Bearer {token}"}
    return Request("DELETE", "/api/v1/activation", headers, b"")


def test_without_a_public_key_nothing_is_sent() -> None:
    """No key is an error, not a warning, and not a request."""
    server = FakeServer()
    settings = server.settings | {"public_key": None}

    with pytest.raises(seatkeeper.ConfigurationError, match="public key"):
        seatkeeper.seat(**settings)
    assert server.requests == []


def test_a_server_of_another_vendor_is_not_believed() -> None:
    """A fake server with keys of its own takes nobody in."""
    ours, other = FakeServer(), FakeServer()
    program = Program(ours)
    other._api.code = ours.code
    other._api.signer.tenant, other._api.signer.product = ours.tenant, ours.product
    other._api.signer.rotate()
    program._transport._client._transport = other.transport  # where httpx2 keeps it

    with pytest.raises(seatkeeper.UntrustedServer):
        program.begin()


def _bit_flipped(answer: dict[str, Any]) -> dict[str, Any]:
    signed, _, signature = answer["lease"].rpartition(".")
    raw = bytearray(unb64url(signature))
    raw[0] ^= 1
    return answer | {"lease": f"{signed}.{b64url(bytes(raw))}"}


def _other_certificate(answer: dict[str, Any]) -> dict[str, Any]:
    return answer | {"certificate": FakeServer()._api.signer.certificate}


def _lease_as_certificate(answer: dict[str, Any]) -> dict[str, Any]:
    return answer | {"certificate": answer["lease"]}


def _no_lease(answer: dict[str, Any]) -> dict[str, Any]:
    return answer | {"lease": ""}


@pytest.mark.parametrize("change", [_bit_flipped, _other_certificate, _lease_as_certificate, _no_lease])
def test_a_forged_answer_is_not_believed(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """A changed signature, another vendor's certificate, a lease posing as one, no lease: no seat."""
    server = FakeServer()

    with pytest.raises(seatkeeper.UntrustedServer):
        Program(server, through=Tampering(server, change)).begin()


def test_a_recorded_lease_is_not_believed() -> None:
    """A lease with another call's nonce is a replay, however well it is signed."""
    server = FakeServer(seats=1)
    recording: list[str] = []

    def replay(answer: dict[str, Any]) -> dict[str, Any]:
        recording.append(answer["lease"])
        return answer | {"lease": recording[0]}

    program = Program(server, through=Tampering(server, replay)).begin()

    with pytest.raises(seatkeeper.UntrustedServer, match="nonce"):
        program.perform(program.session.refresh())


@pytest.mark.parametrize(("claim", "reason"), [("product", "product"), ("tenant", "tenant")])
def test_a_lease_of_another_product_or_tenant_is_not_believed(claim: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that rewrites the request to a cheaper product gets a well-signed lease of no use."""
    server = FakeServer()
    program = Program(server)
    original = server._api._lease

    def rewritten(place: Any, nonce: str | None) -> str:
        kept = getattr(server._api.signer, claim)
        setattr(server._api.signer, claim, "cheap")
        try:
            return original(place, nonce)
        finally:
            setattr(server._api.signer, claim, kept)

    monkeypatch.setattr(server._api, "_lease", rewritten)

    with pytest.raises(seatkeeper.UntrustedServer, match=reason):
        program.begin()


def test_a_lease_of_another_seat_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's lease is no seat of ours, even with our nonce."""
    server = FakeServer()
    original = server._api._lease

    def rewritten(place: Any, nonce: str | None) -> str:
        place.seat_id, kept = "somebody-else", place.seat_id
        try:
            return original(place, nonce)
        finally:
            place.seat_id = kept

    monkeypatch.setattr(server._api, "_lease", rewritten)

    with pytest.raises(seatkeeper.UntrustedServer, match="seat"):
        Program(server).begin()


def _without_device(path: str, body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in {"deviceKey", "deviceProof"}}


def test_a_lease_that_names_no_device_is_not_believed() -> None:
    """A seat given to nobody in particular can be given back by anybody who saw its token."""
    server = FakeServer()

    with pytest.raises(seatkeeper.UntrustedServer, match="device"):
        Program(server, through=Rewriting(server, _without_device)).begin()


def test_a_lease_of_another_device_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who vouched for the seat may give it back."""
    server = FakeServer()
    _signing(server, monkeypatch, device="another device's key")

    with pytest.raises(seatkeeper.UntrustedServer, match="device"):
        Program(server).begin()


@pytest.mark.parametrize("changes", [{"generation": 2}, {"activation_id": "act_other"}])
def test_a_lease_of_another_life_is_not_believed(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """No refresh begins a new life: whoever answers one with an activation wants the other one's seat."""
    server = FakeServer()
    program = Program(server).begin()
    _signing(server, monkeypatch, **changes)

    with pytest.raises(seatkeeper.UntrustedServer, match="activation"):
        program.perform(program.session.refresh())


def test_a_seat_given_back_behind_the_programs_back_is_not_given_to_another() -> None:
    """A proxy sees the token, but not the device's key: the seat counts as long as the program may believe in it."""
    server = FakeServer(seats=1)
    program = Program(server).begin()
    server.handle(_return(server, program.session._memory.kept.access_token or ""))

    with pytest.raises(seatkeeper.NoSeat):
        Program(server, seat_id="s2").begin()
    assert program.session.state() == "held"


@pytest.mark.parametrize("sent", [[], [{"key": "render", "amount": 4}], [{"key": "cheap", "amount": 5}]])
def test_a_seat_without_the_features_asked_for_is_not_believed(sent: list[dict[str, Any]]) -> None:
    """A proxy that leaves features out of the request gets a well-signed lease of no use."""
    server = FakeServer(features={"render": 10, "cheap": 100})
    proxy = Rewriting(server, lambda path, body: body | {"features": sent})

    with pytest.raises(seatkeeper.UntrustedServer, match="asked"):
        Program(server, through=proxy, features={"render": 5}).begin()


@pytest.mark.parametrize("instead", [{"key": "cheap"}, {"amount": 1}])
def test_a_checkout_of_something_else_is_not_believed(instead: dict[str, Any]) -> None:
    """The lease has to have what was held before and what was asked for, of the feature that was asked for."""
    server = FakeServer(features={"render": 10, "cheap": 100})
    proxy = Rewriting(server, lambda path, body: body | instead if path.endswith("checkout") else body)
    program = Program(server, through=proxy, features={"render": 2}).begin()

    with pytest.raises(seatkeeper.UntrustedServer):
        program.perform(program.session.checkout("render", 3))


def test_an_answer_about_another_feature_is_not_believed() -> None:
    """What stands beside the lease is shown to people: it is at least about what they asked for."""
    server = FakeServer(features={"render": 10})
    proxy = Tampering(server, lambda answer: answer | {"key": "other"})
    program = Program(server, through=proxy).begin()

    with pytest.raises(seatkeeper.UntrustedServer, match="another feature"):
        program.perform(program.session.checkout("render", 3))


def test_a_return_of_more_than_was_said_is_not_believed() -> None:
    """After a return the lease has exactly what was held before, less what was given back."""
    server = FakeServer(features={"render": 10})
    proxy = Rewriting(server, lambda path, body: body | {"amount": 5} if path.endswith("return") else body)
    program = Program(server, through=proxy, features={"render": 6}).begin()

    with pytest.raises(seatkeeper.UntrustedServer, match="asked"):
        program.perform(program.session.give_back("render", 1))


def test_a_server_set_back_to_an_old_copy_is_found_out() -> None:
    """A sequence that falls tells of a restored database; the seat is then not extended."""
    server = FakeServer(seats=1)
    program = Program(server).begin()
    program.perform(program.session.refresh())
    server._api.signer.sequence = 0

    with pytest.raises(seatkeeper.UntrustedServer, match="restored"):
        program.perform(program.session.refresh())


def test_a_restored_server_is_found_out_by_the_next_life_too() -> None:
    """The stored lease bears witness across a restart."""
    server = FakeServer(seats=1)
    program = Program(server).begin()
    program.perform(program.session.refresh())
    server._api.signer.sequence = 0

    with pytest.raises(seatkeeper.UntrustedServer):
        Program(server).begin()


def test_an_untrusted_answer_does_not_end_a_seat() -> None:
    """An attacker can delay a refresh, not take the seat: the real server's answer is believed when it comes."""
    server = FakeServer(seats=1)
    attacker = Tampering(server, _bit_flipped)
    attacker.active = False
    program = Program(server, through=attacker).begin()
    attacker.active = True
    told = program.live(70)
    attacker.active = False

    assert told == ["held", "at risk"]
    assert program.live(60) == ["held"]


def test_a_page_of_a_proxy_is_no_answer() -> None:
    """A login page with status 200 is a server's problem, and the call stays pending."""
    server = FakeServer(seats=1)
    program = Program(server, through=Tampering(server, lambda answer: {"please": "log in"}))

    with pytest.raises(seatkeeper.ServerProblem, match="proxy"):
        program.begin()
    assert program.session._memory.kept.pending is not None


def test_a_server_that_signs_with_a_new_certified_key_is_believed() -> None:
    """Keys are rotated: the certificate in the answer vouches for the new one."""
    server = FakeServer(seats=1)
    program = Program(server).begin()
    server._api.signer.rotate()

    program.perform(program.session.refresh())

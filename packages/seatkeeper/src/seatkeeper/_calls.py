"""Making the calls about one seat: who asks for what, with which token and nonce. Sends nothing.

A call that grants something carries a fresh `clientNonce`, which its lease must repeat, and says that the lease may be one
of many that were signed together. The device vouches for taking the seat and for giving it back, so that a token in strange
hands does neither. Fields that say nothing are left out.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct, json, structs

from seatkeeper._identity import Identity
from seatkeeper._settings import Settings
from seatkeeper._storage import Kept
from seatkeeper._talk import Runtime
from seatkeeper._wire import Call, Kind
from seatkeeper.protocol import devices
from seatkeeper.protocol.documents import (
    TREE,
    ActivateRequest,
    CodeCredentials,
    FeatureRequest,
    LeaseClaims,
    RefreshRequest,
    UsageRequest,
    WantedFeature,
)
from seatkeeper.protocol.envelopes import public_key_text

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Calls:
    """Makes the calls of one seat; `kept` is what is remembered of it at the time."""

    def __init__(self, settings: Settings, identity: Identity, runtime: Runtime, device: "Ed25519PrivateKey") -> None:
        self._settings = settings
        self._identity = identity
        self._runtime = runtime
        self._device = device
        self._bound: Callable[[str], str] | None = None  # what makes a nonce one of this machine's

    def bind(self, bound: Callable[[str], str]) -> None:
        """Have every lease from now on bound to this machine, by the nonce that it repeats."""
        self._bound = bound

    def activate(self, kept: Kept, features: Mapping[str, int], borrow_until: datetime | None = None) -> Call:
        """Ask for the seat, with the token of an earlier life if there is one; perhaps to take it home until a moment."""
        nonce = self._nonce()
        vouched = devices.Asked(self._settings.tenant, self._settings.product, self._identity.seat_id, nonce)
        body = ActivateRequest(
            product_id=self._settings.product,
            seat_id=self._identity.seat_id,
            seat_name=self._identity.seat_name,
            activation_credentials=CodeCredentials(code=self._settings.code),
            client_nonce=nonce,
            last_lease=kept.last_lease,
            sent_at=self._runtime.now().moment,
            features=_wanted(features),
            holder=self._identity.holder,
            borrow_until=borrow_until,
            device_key=public_key_text(self._device.public_key()),
            device_proof=devices.prove(self._device, vouched),
            lease_types=[TREE],
        )
        return self._call("activate", Kept(access_token=kept.access_token), body, nonce)

    def asks_the_same(self, call: Call, features: Mapping[str, int], borrow_until: datetime | None = None) -> bool:
        """Tell whether a call is an activate, perhaps of an earlier life, that asked for what is wanted now."""
        if call.kind != "activate":
            return False
        asked = json.decode(call.body, type=ActivateRequest)
        credentials = CodeCredentials(code=self._settings.code)
        same = asked.activation_credentials == credentials and asked.features == _wanted(features)
        return same and asked.borrow_until == borrow_until

    def is_our_activate(self, call: Call) -> bool:
        """Tell whether a call is an activate, perhaps of an earlier life, for which this device vouched."""
        if call.kind != "activate":
            return False
        return json.decode(call.body, type=ActivateRequest).device_key == public_key_text(self._device.public_key())

    def features_in(self, call: Call) -> list[str]:
        """Give the keys of the features that a call is about."""
        match call.kind:
            case "activate":
                return [wanted.key for wanted in json.decode(call.body, type=ActivateRequest).features]
            case "checkout" | "return" | "usage":
                return [json.decode(call.body, type=UsageRequest).key]
        return []

    def refresh(self, kept: Kept) -> Call:
        """Ask to keep the seat."""
        nonce = self._nonce()
        body = RefreshRequest(client_nonce=nonce, last_lease=kept.last_lease, lease_types=[TREE])
        return self._call("refresh", kept, body, nonce)

    def feature(self, kind: Kind, kept: Kept, key: str, amount: int) -> Call:
        """Ask for a checkout or return, or report a use."""
        nonce = self._nonce()
        if kind == "usage":
            return self._call(kind, kept, UsageRequest(key=key, client_nonce=nonce), nonce)
        body = FeatureRequest(key=key, amount=amount, client_nonce=nonce, lease_types=[TREE])
        return self._call(kind, kept, body, nonce)

    def entitlement(self, kept: Kept) -> Call:
        """Ask what was bought."""
        return self._call("entitlement", kept)

    def deactivate(self, token: str, claims: LeaseClaims | None) -> Call:
        """Give the seat back; the one call about a held seat that needs no nonce, but the device's word."""
        call = self._call("deactivate", Kept(access_token=token))
        if claims is None:
            return call
        vouched = devices.Returned(self._settings.tenant, claims.act, claims.gen)
        return structs.replace(call, device_proof=devices.prove(self._device, vouched))

    def _nonce(self) -> str:
        nonce = self._runtime.nonce()
        return nonce if self._bound is None else self._bound(nonce)

    def _call(self, kind: Kind, kept: Kept, body: Struct | None = None, client_nonce: str = "") -> Call:
        return Call(
            kind=kind,
            tenant_id=self._settings.tenant,
            body="" if body is None else compact(body),
            token=kept.access_token,
            nonce=kept.nonce,
            client_nonce=client_nonce,
            asked_at=self._runtime.now(),
        )


def compact(body: Struct) -> str:
    """Write a request without the fields that say nothing."""
    fields = {name: value for name, value in json.decode(json.encode(body)).items() if value is not None and value != []}
    return json.encode(fields).decode()


def _wanted(features: Mapping[str, int]) -> list[WantedFeature]:
    return [WantedFeature(key=key, amount=amount) for key, amount in features.items() if amount]

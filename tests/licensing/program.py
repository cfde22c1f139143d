"""A program as the tests of the wire play it: plain HTTP, no SDK in between."""

import secrets
from base64 import urlsafe_b64encode

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from licensing.target import Target
from seatkeeper.protocol import devices
from seatkeeper.protocol.documents import CertificateClaims, LeaseClaims
from seatkeeper.protocol.envelopes import public_key_text, read_public_key
from seatkeeper.protocol.trust import Expected, Trust

Answer = httpx2.Response


class Program:
    """A program that holds, or wants, one seat."""

    def __init__(self, target: Target, http: httpx2.Client, seat_id: str) -> None:
        self.target = target
        self.http = http
        self.seat_id = seat_id
        self.token = ""
        self.nonce: str | None = None
        self.client_nonce = ""

    def body(self, **more: object) -> dict[str, object]:
        self.client_nonce = fresh()
        return {
            "productId": self.target.product_id,
            "activationCredentials": {"type": "activationCode", "code": self.target.code},
            "seatId": self.seat_id,
            "seatName": f"{self.seat_id}@host",
            "clientNonce": self.client_nonce,
            **more,
        }

    def proven(self, device: Ed25519PrivateKey, **more: object) -> dict[str, object]:
        """Give an activation for which a device vouches."""
        body = self.body(**more)
        asked = devices.Asked(self.target.tenant_id, self.target.product_id, self.seat_id, self.client_nonce)
        return {
            **body,
            "deviceKey": public_key_text(device.public_key()),
            "deviceProof": devices.prove(device, asked),
        }

    def activate(self, body: dict[str, object] | None = None, **headers: str) -> Answer:
        answer = self.http.post("/api/v1/activate", json=body or self.body(), headers=headers)
        if answer.is_success:
            self.token = answer.json()["accessToken"]
            self.nonce = answer.headers["N-Nonce"]
        return answer

    def call(self, method: str, path: str, body: dict[str, object] | None = None, **headers: str) -> Answer:
        """Call with the token and the newest nonce, and take the next nonce from the answer."""
        if self.nonce is not None:
            headers = {"N-Nonce": self.nonce, **headers}
        answer = self.raw(method, path, body, **headers)
        self.nonce = answer.headers.get("N-Nonce", self.nonce)
        return answer

    def raw(self, method: str, path: str, body: dict[str, object] | None = None, **headers: str) -> Answer:
        return self.http.request(method, path, json=body, headers={"Authorization": f"Bearer {self.token or '-'}", **headers})

    def refresh(self, **headers: str) -> Answer:
        self.client_nonce = fresh()
        return self.call("PATCH", "/api/v1/activation/refresh", {"clientNonce": self.client_nonce}, **headers)

    def give_back(self, device: Ed25519PrivateKey | None = None) -> Answer:
        """Give the seat back, if need be with the device's word."""
        if device is None:
            return self.raw("DELETE", "/api/v1/activation")
        activation_id, generation, _ = self.token.split(".")
        returned = devices.Returned(self.target.tenant_id, activation_id, int(generation))
        return self.raw("DELETE", "/api/v1/activation", **{devices.RETURN_HEADER: devices.prove(device, returned)})

    def leave(self) -> None:
        """Give back whatever is held, so that the next test finds every seat free."""
        if self.token:
            self.give_back()

    def lease(self, answer: Answer, device: Ed25519PrivateKey | None = None) -> LeaseClaims:
        """Verify the lease in an answer as an application must."""
        return self.verified(answer.json()["lease"], device)

    def verified(self, lease: str, device: Ed25519PrivateKey | None = None) -> LeaseClaims:
        trust = Trust((read_public_key(self.target.public_key),))
        key = None if device is None else public_key_text(device.public_key())
        expected = Expected(self.target.tenant_id, self.target.product_id, self.seat_id, self.client_nonce, key)
        return trust.lease(lease, self.certificate(), expected)

    def certificate(self) -> CertificateClaims:
        found = self.http.get("/.well-known/seatkeeper/keys").json()
        return Trust((read_public_key(self.target.public_key),)).certificate(found["certificates"][0])


def fresh() -> str:
    return urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode()


def problem(answer: Answer) -> tuple[int, str]:
    body = answer.json()
    assert body["error"]
    assert body["details"]
    return answer.status_code, body["errorCode"]

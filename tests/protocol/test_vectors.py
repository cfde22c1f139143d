"""The wire vectors are what the production code reads, and are made by the script that claims to make them."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from seatkeeper.protocol import codes, documents, envelopes
from seatkeeper.protocol.envelopes import EnvelopeError
from seatkeeper.protocol.trust import Expected, Trust

ROOT = Path(__file__).parent.parent.parent
VECTORS = ROOT / "tests" / "vectors"
FILES = ("activation_codes.json", "answers.json", "certificates.json", "leases.json", "requests.json", "tree_leases.json")

Case = dict[str, Any]  # as free as JSON

_LEASE_REASONS = {
    "malformed", "algorithm", "type", "unknown-key", "signature", "tenant", "product", "seat", "nonce", "issuer", "validity",
    "entitlement", "feature", "end", "device",
}  # fmt: skip

_REQUESTS: dict[str, Any] = {  # types, a list's too
    "/api/v1/activate": documents.ActivateRequest,
    "/api/v1/activation/refresh": documents.RefreshRequest,
    "/api/v1/activations/refresh": Annotated[
        list[documents.ListedRefresh], msgspec.Meta(min_length=1, max_length=documents.MAX_LISTED)
    ],
    "/api/v1/activation/features/checkout": documents.FeatureRequest,
    "/api/v1/activation/features/return": documents.FeatureRequest,
    "/api/v1/activation/features/usage": documents.UsageRequest,
    "/api/v1/status": documents.StatusRequest,
}


def load(name: str) -> list[Case]:
    """Give a file's cases."""
    cases: list[Case] = json.loads((VECTORS / name).read_text(encoding="utf-8"))["cases"]
    return cases


def each(name: str, wanted: str | None = None) -> pytest.MarkDecorator:
    """Run a test once per case of a file, of those with a certain input if one is named."""
    chosen = [case for case in load(name) if wanted is None or wanted in case]
    return pytest.mark.parametrize("case", chosen, ids=[case["name"] for case in chosen])


@each("leases.json")
def test_a_lease_is_believed_or_refused_as_its_vector_says(case: Case) -> None:
    """An application believes a good lease, and refuses each forgery for the reason that is told."""
    assert _judge_lease(case) == case["result"]


@each("tree_leases.json")
def test_a_lease_in_a_tree_is_believed_or_refused_as_its_vector_says(case: Case) -> None:
    """The same of one that was signed together with others."""
    assert _judge_lease(case) == case["result"]


@each("certificates.json")
def test_a_certificate_is_believed_or_refused_as_its_vector_says(case: Case) -> None:
    """A pinned root vouches for a good certificate, and for no forgery."""
    assert _judge_certificate(case) == case["result"]


@each("activation_codes.json", "randomHex")
def test_a_code_is_made_as_its_vector_says(case: Case) -> None:
    """Fifteen bytes give one code."""
    assert codes.make_code(bytes.fromhex(case["randomHex"])) == case["result"]["code"]


@each("activation_codes.json", "text")
def test_a_typed_code_is_read_as_its_vector_says(case: Case) -> None:
    """What a person typed is read generously, and its mistakes are noticed."""
    text = case["text"]

    assert {"canonical": codes.canonical(text), "looksRight": codes.looks_right(text)} == case["result"]


@each("requests.json")
def test_a_request_is_read_as_its_vector_says(case: Case) -> None:
    """A server reads the values a program wrote, or names the field that is wrong."""
    assert _read(case["body"], _REQUESTS[case["path"]], case["result"]) == case["result"]


@each("answers.json")
def test_an_answer_is_read_as_its_vector_says(case: Case) -> None:
    """A program reads the values a server wrote, or takes the answer for broken."""
    assert _read(case["body"], getattr(documents, case["document"]), case["result"]) == case["result"]


@pytest.mark.parametrize("name", ["leases.json", "tree_leases.json"])
def test_every_reason_for_refusal_has_a_vector(name: str) -> None:
    """An SDK author can try each check of the chain of trust, for either type of lease."""
    assert {case["result"].get("reason") for case in load(name)} - {None} == _LEASE_REASONS


@pytest.mark.parametrize("name", FILES)
def test_names_of_cases_are_unique(name: str) -> None:
    """A case can be spoken of by its name."""
    names = [case["name"] for case in load(name)]

    assert len(names) == len(set(names))


def test_making_the_vectors_again_gives_the_same_bytes(tmp_path: Path) -> None:
    """The committed files are what `scripts.make_vectors` makes, on any machine."""
    subprocess.run([sys.executable, "-m", "scripts.make_vectors", "--to", str(tmp_path)], cwd=ROOT, check=True, timeout=60)

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        name: (VECTORS / name).read_bytes() for name in FILES
    }


def _judge_lease(case: Case) -> Case:
    trust, document = _trust(case), "certificate"
    wanted = case["expected"]
    try:
        certificate = trust.certificate(case["certificate"])
        document = "lease"
        expected = Expected(wanted["tenantId"], wanted["productId"], wanted["seatId"], wanted["nonce"], wanted["deviceKey"])
        claims = msgspec.to_builtins(trust.lease(case["lease"], certificate, expected))
        return {"claims": {name: value for name, value in claims.items() if value is not None}}
    except EnvelopeError as error:
        return {"document": document, "reason": error.reason}


def _judge_certificate(case: Case) -> Case:
    try:
        claims = msgspec.to_builtins(_trust(case).certificate(case["certificate"]))
    except EnvelopeError as error:
        return {"reason": error.reason}
    return {"claims": {name: value for name, value in claims.items() if value is not None}}


def _trust(case: Case) -> Trust:
    return Trust(tuple(envelopes.read_public_key(root) for root in case["roots"]))


def _read(body: str, document: Any, wanted: Case) -> Case:
    """Read a body and report it in the vectors' terms: the values under the pointers asked for, or what is wrong."""
    try:
        read = msgspec.json.decode(body.encode(), type=document)
    except msgspec.ValidationError as error:
        return {"wrong": _pointer(str(error))}
    except msgspec.DecodeError:
        return {"unparsable": True}
    plain = msgspec.to_builtins(read, builtin_types=(datetime,))
    return {"reads": {pointer: _value(plain, pointer) for pointer in wanted.get("reads", {})}}


def _pointer(message: str) -> str:
    """Turn msgspec's "Object missing required field `c` - at `$.a[0].b`" into the JSON pointer /a/0/b/c."""
    place = re.search(r" - at `\$([^`]*)`$", message)
    missing = re.search(r"missing required field `([^`]*)`", message)
    steps = re.findall(r"[^.\[\]]+", place[1] if place else "")
    return "".join(f"/{step}" for step in [*steps, *([missing[1]] if missing else [])])


def _value(document: Any, pointer: str) -> Any:  # Any: JSON
    for step in pointer.split("/")[1:]:
        document = document[int(step)] if isinstance(document, list) else document.get(step)
    if isinstance(document, datetime):
        return document.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return document

"""No secret is written down. A busy run, with its mistakes and a broken database, and then a look at everything it left.

Secret are codes, access tokens, nonces, the sealing key, and the secrets of API clients. A code's last four characters may be
shown. The log is kept at `debug`, where most is said.
"""

import sqlite3
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from tests.support.servers import CloudServer, Sold

WRONG_CODE = "WRNGC-0DE0F-S0MEB-0DYWH-0M1ST"
WRONG_SECRET = "a-wrong-secret-of-an-api-client-0001"
CLIENT_NONCE = "a-nonce-of-the-client-0001"
IDEMPOTENCY_KEY = "a-key-for-a-repeat-0000001"
ACTIVATE, SEAT = "/api/v1/activate", "/api/v1/activation"
REFRESH, CHECK_OUT = f"{SEAT}/refresh", f"{SEAT}/features/checkout"


@dataclass
class Run:
    """What one server was told, and where it may have written it."""

    cloud: CloudServer
    credentials: set[str]
    nonces: set[str]

    def told_in(self, text: str, secrets: set[str]) -> list[str]:
        """Find the secrets that a text gives away, however a code is grouped."""
        return [secret for secret in secrets if _plain(secret) in _plain(text)]


def _plain(text: str) -> str:
    return text.replace("-", "").lower()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Give what is left of a busy run; the server is still there."""
    data = tmp_path_factory.mktemp("secrets") / "data"
    with CloudServer(data, environment={"SEATKEEPER_LOG_LEVEL": "debug"}) as cloud:
        sold = cloud.sell("acme", "solver", seats=1, feature="render=elementPool:5")
        run = Run(
            cloud, {sold.code, WRONG_CODE, *_spellings((data / "seal.key").read_bytes())}, {CLIENT_NONCE, IDEMPOTENCY_KEY}
        )
        with httpx2.Client(base_url=cloud.url, headers={"N-TenantId": sold.tenant}, trust_env=False) as http:
            http.event_hooks = {"response": [lambda answer: _go_on(answer, http, run)]}
            _use_a_seat(http, sold)
            _make_mistakes(http, sold)
            _find_the_database_broken(http, sold, data)
        _call_as_a_system(cloud, run)
        yield run


def _spellings(key: bytes) -> set[str]:
    return {key.hex(), b64encode(key).decode().rstrip("="), urlsafe_b64encode(key).decode().rstrip("="), repr(key)}


def _go_on(answer: httpx2.Response, http: httpx2.Client, run: Run) -> None:
    """Show the newest token and nonce next time, and remember them. The part of a token that is secret is its last."""
    answer.read()
    if nonce := answer.headers.get("n-nonce"):
        http.headers["N-Nonce"] = nonce
        run.nonces.add(nonce)
    if answer.is_success and answer.content and (token := answer.json().get("accessToken")):
        http.headers["Authorization"] = f"Bearer {token}"
        run.credentials.add(token.rpartition(".")[2])


def _use_a_seat(http: httpx2.Client, sold: Sold) -> None:
    """Take the seat, use it with nonces and keys, and take it again by its token."""
    for client_nonce in (CLIENT_NONCE, CLIENT_NONCE[::-1]):
        taken = http.post(ACTIVATE, json=_wanted(sold) | {"clientNonce": client_nonce})
        kept = http.patch(REFRESH, json={"clientNonce": CLIENT_NONCE, "lastLease": taken.json()["lease"]})
        drawn = http.patch(CHECK_OUT, json={"key": "render", "amount": 1}, headers={"Idempotency-Key": IDEMPOTENCY_KEY})
        read = http.get(SEAT)

        assert [answer.is_success for answer in (taken, kept, drawn, read)] == [True] * 4


def _make_mistakes(http: httpx2.Client, sold: Sold) -> None:
    """Come too many, mistype the code, break the body, show a token that is none and a nonce that is old."""
    forged = http.headers["Authorization"] + "x"
    answers = [
        http.post(ACTIVATE, json=_wanted(sold) | {"seatId": "one-too-many", "clientNonce": None}),
        http.post(ACTIVATE, json=_wanted(sold) | {"activationCode": WRONG_CODE}),
        http.post(ACTIVATE, content=f'{{"activationCode": "{sold.code}", '),
        http.post(ACTIVATE, json=_wanted(sold) | {"seatId": [sold.code]}),
        http.patch(REFRESH, json={}, headers={"Authorization": forged}),
        http.patch(REFRESH, json={}, headers={"N-Nonce": CLIENT_NONCE}),
    ]

    assert [answer.status_code for answer in answers] == [402, 401, 400, 422, 401, 409]


def _call_as_a_system(cloud: CloudServer, run: Run) -> None:
    """Get an access token, with a wrong secret first, and call with it."""
    client = cloud.ask_json("client", "create", "erp")
    run.credentials |= {client["clientSecret"], WRONG_SECRET}
    realm = f"{cloud.url}/realms/{client['realm']}/protocol/openid-connect/token"
    form = {"grant_type": "client_credentials", "client_id": "erp"}
    with httpx2.Client(trust_env=False, headers={"N-TenantId": client["tenantId"]}) as http:
        wrong = http.post(realm, data={**form, "client_secret": WRONG_SECRET})
        token = http.post(realm, data={**form, "client_secret": client["clientSecret"]}).json()["access_token"]
        run.credentials.add(token.rpartition(".")[2])
        http.headers["Authorization"] = f"Bearer {token}"
        made = http.post(f"{cloud.url}/api/v1/account/api-clients", json={"clientId": "shop"})
        run.credentials.add(made.json()["clientSecret"])
        bad = http.post(f"{cloud.url}/api/v1/account/api-clients", json={"clientId": "b", "clientSecret": [WRONG_SECRET]})

    assert [answer.status_code for answer in (wrong, made, bad)] == [401, 200, 422]


def _find_the_database_broken(http: httpx2.Client, sold: Sold, data: Path) -> None:
    """Call while a table is missing, so that the log has a stack."""
    with closing(sqlite3.connect(data / "seatkeeper.db", isolation_level=None)) as database:
        database.execute("ALTER TABLE keyed RENAME TO kept_elsewhere")
        assert http.post(ACTIVATE, json=_wanted(sold)).status_code == 503
        database.execute("ALTER TABLE kept_elsewhere RENAME TO keyed")


def _wanted(sold: Sold) -> dict[str, object]:
    return {"productId": sold.product, "seatId": "ada@node7", "activationCode": sold.code, "clientNonce": CLIENT_NONCE}


def test_the_log_tells_no_secret(run: Run) -> None:
    """Log events; never a secret, never a whole activation code."""
    log = run.cloud.log.read_text()

    assert all(event in log for event in ('"request"', '"credentials.unknown"', '"request.failed"', "Traceback"))
    assert _plain(WRONG_CODE)[-4:] in log.lower()
    assert run.told_in(log, run.credentials | run.nonces) == []


def test_no_verb_prints_a_secret(run: Run) -> None:
    """What anybody who may look at the data is shown has no secret in it; `code show` is a verb of its own."""
    shown = "".join(run.cloud.ask(verb, "--json") for verb in ("ls", "seats", "log", "doctor"))

    assert "ada@node7" in shown
    assert run.told_in(shown, run.credentials | run.nonces) == []


def test_no_credential_lies_in_the_database(run: Run) -> None:
    """Codes are hashed and sealed, tokens are computed, keys of repeats are hashed: a copy of the file opens nothing."""
    files = [path for path in run.cloud.data.iterdir() if path.name.startswith("seatkeeper.db")]
    kept = "".join(path.read_bytes().decode("latin-1") for path in files)
    secrets = run.credentials | {CLIENT_NONCE, IDEMPOTENCY_KEY}

    assert "ada@node7" in kept
    assert run.told_in(kept, secrets) == []

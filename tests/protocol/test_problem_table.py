"""The problem codes are those of the contract, each with its status, for ever."""

import pytest

from seatkeeper.protocol.problems import DENIAL_RULES, PROBLEMS, Problem

CONTRACT = {
    "seats.exhausted": 402,
    "feature.exhausted": 402,
    "feature.unknown": 404,
    "feature.notReturnable": 402,
    "feature.overReturn": 402,
    "entitlement.expired": 402,
    "entitlement.disabled": 402,
    "entitlement.exported": 402,
    "entitlement.notActive": 402,
    "policy.refused": 402,
    "borrow.refused": 402,
    "seat.gone": 409,
    "seat.takenOver": 409,
    "nonce.stale": 409,
    "idempotency.mismatch": 422,
    "conflict": 409,
    "credentials.unknown": 401,
    "token.invalid": 401,
    "forbidden": 403,
    "notFound": 404,
    "body.unparsable": 400,
    "body.tooLarge": 413,
    "validation": 422,
    "rate.limited": 429,
    "storage.full": 503,
    "storage.unavailable": 503,
    "offline.replayed": 402,
    "offline.wrongServer": 402,
    "offline.tooOld": 402,
    "offline.malformed": 402,
    "offline.forged": 402,
    "offline.wrongKey": 402,
    "offline.wrongKind": 402,
    "vendor.unreachable": 502,
}

RULES = {
    "pool-full", "feature-exhausted", "group-limit", "reserved", "excluded", "not-authorized", "entitlement-expired",
    "entitlement-disabled", "exported", "version", "clock", "share-expired", "borrow-limit", "restored", "cloned",
}  # fmt: skip


@pytest.mark.parametrize(("code", "status"), CONTRACT.items())
def test_a_code_keeps_its_status(code: str, status: int) -> None:
    """A code, once public, is never renamed, dropped or given another status."""
    assert PROBLEMS[code].status == status


def test_a_new_code_is_written_down_here_too() -> None:
    """Codes are added on purpose: to the contract, to the table and to this test."""
    assert PROBLEMS.keys() == CONTRACT.keys()


def test_denial_rules_are_those_of_the_contract() -> None:
    """A refusal names one of these rules."""
    assert set(DENIAL_RULES) == RULES


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_a_title_is_a_sentence(problem: Problem) -> None:
    """It is shown to people."""
    title = problem.title

    assert title[0].isupper()
    assert title.endswith(".")


@pytest.mark.parametrize("text", [problem.title for problem in PROBLEMS.values()])
def test_no_title_says_that_a_seat_is_free_at_a_moment(text: str) -> None:
    """A lease may be refreshed, so nobody knows; "free at" would be a promise."""
    assert "free at" not in text.lower()

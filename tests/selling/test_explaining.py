"""Why was my customer refused yesterday? A refusal can be explained by its id."""

import pytest

from seatkeeper_server.service import explaining
from seatkeeper_server.service.calls import Refused, Verb
from seatkeeper_server.service.catalogue import NotFound
from seatkeeper_server.service.explaining import Explanation
from tests.selling.conftest import after, books, take
from tests.support.house import House, activate, held


def refuse(house: House, seat: str) -> str:
    """Have a seat refused, and give the id of the refusal."""
    refused = house.one(activate(seat))
    assert isinstance(refused, Refused)
    assert refused.refusal is not None
    return refused.refusal.denial_id


def why(house: House, denial_id: str) -> Explanation:
    """Explain a refusal."""
    with books(house) as catalogue:
        return explaining.explain(catalogue, denial_id)


def test_a_refusal_says_when_who_what_and_how_full(house: House) -> None:
    """The id is enough to learn all of it, long after."""
    take(house, "ann", "bob")
    house.pass_(5)
    found = why(house, refuse(house, "eve"))

    assert (found.rule, found.customer, found.product) == ("pool-full", "acme", "solver")
    assert (found.limit, found.used) == (2, 2)
    assert found.who is not None
    assert found.who.seat_name == "eve@host"
    assert found.at == after(5)


def test_an_id_may_be_typed_in_lower_case_and_without_its_d(house: House) -> None:
    """People read it to each other; letters that look alike are one."""
    take(house, "ann", "bob")
    denial_id = refuse(house, "eve")
    typed = (f" {denial_id.lower()} ", denial_id[2:], denial_id.replace("-", ""), denial_id.replace("0", "o").replace("1", "l"))

    assert {why(house, each).denial_id for each in typed} == {denial_id}


def test_it_names_who_was_there_then_and_not_who_came_later(house: House) -> None:
    """Holders are those whose places counted when it was refused."""
    first, _ = take(house, "ann", "bob")
    denial_id = refuse(house, "eve")
    house.one(held(Verb.RETURN, first))
    take(house, "joe")

    assert why(house, denial_id).holders == ("ann@host", "bob@host")


def test_who_had_left_before_is_not_named(house: House) -> None:
    """A returned seat and a lapsed one are no longer there."""
    first, _ = take(house, "ann", "bob")
    house.one(held(Verb.RETURN, first))
    house.pass_(130)
    take(house, "joe", "kim")

    assert why(house, refuse(house, "eve")).holders == ("joe@host", "kim@host")


def test_a_taken_over_place_is_named_as_long_as_it_counts(house: House) -> None:
    """One seat id that was taken over holds two places: the older copy's lease still runs."""
    take(house, "ann", "ann")

    assert why(house, refuse(house, "eve")).holders == ("ann@host", "ann@host")


def test_repeats_that_are_still_being_counted_are_told(house: House) -> None:
    """Refusals within the minute are counted under the id of the first."""
    take(house, "ann", "bob")
    ids = {refuse(house, "eve") for _ in range(3)}

    assert len(ids) == 1
    assert why(house, ids.pop()).repeats == 2


def test_repeats_that_were_written_down_since_are_told(house: House) -> None:
    """The one later fact with the count explains them too."""
    take(house, "ann", "bob")
    denial_id = refuse(house, "eve")
    refuse(house, "eve")
    house.pass_(61)
    house.sweep()

    assert house.rows("SELECT count(*) FROM refusal") == [(0,)]
    assert why(house, denial_id).repeats == 1


def test_wrong_credentials_are_explained_by_address_and_end_of_code(house: House) -> None:
    """Failed credentials of a known tenant are refusals of the tenant's own: no entitlement, the code's last four."""
    house.one(activate("eve", code_hash="unknown", code_hint="WXYZ"))
    ((denial_id,),) = house.rows("SELECT denial_id FROM fact WHERE kind = 'Denied'")
    found = why(house, denial_id)

    assert (found.rule, found.entitlement_id, found.hint) == ("credentials", None, "WXYZ")


def test_an_unknown_id_names_the_nearest(house: House) -> None:
    """A typing mistake is answered with what was probably meant."""
    take(house, "ann", "bob")
    denial_id = refuse(house, "eve")
    wrong = denial_id[:-1] + ("X" if denial_id[-1] != "X" else "Y")
    with pytest.raises(NotFound, match=denial_id):
        why(house, wrong)

"""What a local server remembers of its connection to a vendor."""

from datetime import timedelta

from tests.support.house import START, AnyStore

from seatkeeper_server.service.connections import Connection, Letter
from seatkeeper_server.store.connections import Connections

MINUTE = timedelta(minutes=1)
OURS = Connection(tenant_id="t_1", url="https://x", ca_file="/ca.pem", is_plain=True, connected_at=START, next_at=START)


def test_a_connection_is_kept_and_forgotten(store: AnyStore) -> None:
    """As it was saved last; with it goes what was to be sent over it, and nothing of another vendor's."""
    store.migrate(START)
    other = Connection(tenant_id="t_2", url="https://y", connected_at=START, next_at=START, failures=3, error="away")
    with store.transaction() as tx:
        connections = Connections(tx)
        connections.save(OURS)
        connections.save(other)
        for number, tenant in ((2, "t_1"), (1, "t_1"), (1, "t_2")):
            connections.add(tenant, Letter(number, f"token {number}"), START)
    with store.transaction() as tx:
        connections = Connections(tx)
        kept, waiting = connections.all(), connections.unanswered("t_1")
        connections.answered("t_1", 1)
        left = connections.unanswered("t_1")
        connections.drop("t_1")
        after = connections.of("t_1"), connections.unanswered("t_1"), connections.unanswered("t_2")

    assert kept == [OURS, other]
    assert [letter.number for letter in waiting] == [1, 2]
    assert left == [Letter(2, "token 2")]
    assert after == (None, [], [Letter(1, "token 1")])


def test_the_turn_is_taken_once(store: AnyStore) -> None:
    """When it is due, by one; then not before the turn is over."""
    store.migrate(START)
    took = []
    for now in (START - MINUTE, START, START, START + MINUTE, START + 2 * MINUTE):
        with store.transaction() as tx:
            if not took:
                Connections(tx).save(OURS)
            took.append(Connections(tx).claim("t_1", now, now + 2 * MINUTE))

    assert took == [False, True, False, False, True]

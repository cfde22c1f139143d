"""What a cloud and a local server are made of: the same house, with what differs handed in."""

from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import msgpack

from seatkeeper_server.apps import cloud, deciding, local
from seatkeeper_server.apps.chores import Chores, SiteChores
from seatkeeper_server.apps.deciding import AUTHORITIES, LENT, SOLD, Lent, Order, Sold
from seatkeeper_server.service.timekeeping import ClockState
from seatkeeper_server.settings import LocalSettings, Settings


def test_an_order_says_which_authority_the_desk_has() -> None:
    """Also to a desk in a process of its own, by name; what is not named is what was sold."""
    order = Order(database="", seal_key="", database_id="", epoch=1, authority=LENT)
    read = msgpack.decode(msgpack.encode(order), type=Order)

    assert (read.authority, Order(database="", seal_key="", database_id="", epoch=1).authority) == (LENT, SOLD)
    assert (type(AUTHORITIES[SOLD]()), type(AUTHORITIES[LENT]())) == (Sold, Lent)


@pytest.mark.parametrize("own_process", [False, True])
def test_a_house_has_the_desk_of_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_process: bool) -> None:
    """A cloud's serves what was sold, a local server's what was lent."""
    ordered: list[str] = []
    real = deciding.Order

    def order(**how: object) -> Order:
        ordered.append(str(how["authority"]))
        return real(**how)  # type: ignore[arg-type]  # as the house says

    monkeypatch.setattr("seatkeeper_server.apps.house.Order", order)
    with (
        cloud.build(Settings(data=tmp_path / "c", port=0, desk_process=own_process)),
        local.build(LocalSettings(data=tmp_path / "l", port=0, desk_process=own_process)),
    ):
        pass

    assert ordered == [SOLD, LENT]


def test_a_local_server_renews_no_keys(tmp_path: Path) -> None:
    """It has no root: its vendor certifies its keys with every grant."""
    kind = local.kind_of(LocalSettings(data=tmp_path))

    assert (cloud.CLOUD.chores, kind.chores) == (Chores, SiteChores)


def test_the_start_line_names_the_kind(tmp_path: Path) -> None:
    """`seatkeeper cloud: …`, `seatkeeper local: …`, otherwise alike."""
    lines = [
        cloud.house.start_line(kind, LocalSettings(data=tmp_path), "http://127.0.0.1:1", ClockState.OK)
        for kind in (cloud.CLOUD, replace(cloud.CLOUD, name="local"))
    ]

    assert [line.partition(":")[0] for line in lines] == ["seatkeeper cloud", "seatkeeper local"]
    assert len({line.partition(":")[2] for line in lines}) == 1


def test_a_local_server_has_a_port_and_a_folder_of_its_own() -> None:
    """So that both may run on one machine without a word."""
    cloud_settings, local_settings = Settings(), LocalSettings()

    assert (cloud_settings.port, local_settings.port) == (6500, 6501)
    assert (cloud_settings.data.name, local_settings.data.name) == ("cloud", "local")
    assert cloud_settings.data.parent == local_settings.data.parent

"""What is planned: everything that is promised, and no more than was asked for."""

from bench.cases import CASES, CONNECTIONS, POSTGRES, SQLITE, STORES, Cell, Phase, phases


def planned(cases=CASES, connections=CONNECTIONS, stores=STORES, **more) -> list[Phase]:
    """Plan with everything that isn't said otherwise."""
    return phases(cases, connections, stores, **more)


def cells(found: list[Phase]) -> list[Cell]:
    """Give the cells of all phases."""
    return [cell for phase in found for cell in phase.cells]


def test_a_whole_run_has_the_grid() -> None:
    """Floor, bare protocol, each call and each baseline on each database, over 1, 16, 64 and 256 connections."""
    both = [phase for phase in planned() if phase.name.startswith("main-")]
    calls = ["refresh", "refusal", "activate+return"]
    expected = {(case, "none", count) for case in ("floor", "hello") for count in (1, 16, 64, 256)} | {
        (f"{before}{case}", store, count)
        for before in ("", "baseline-")
        for case in calls
        for store in STORES
        for count in (1, 16, 64, 256)
    }

    assert expected <= {(cell.case, cell.place.store, cell.connections) for cell in cells(both)}


def test_growth_goes_from_a_thousand_to_a_million_on_each_database() -> None:
    """1k, 10k, 100k and 1M live leases, and 1M facts; on SQLite 100 leases too."""
    growth = {phase.name: phase for phase in planned() if phase.name.startswith("growth-")}
    leases = {
        name: {(cell.place.live_leases, cell.place.made.value) for cell in phase.cells if cell.case == "refresh"}
        for name, phase in growth.items()
    }
    from_a_thousand = {(1_000, ""), (10_000, ""), (100_000, ""), (1_000_000, ""), (1_000, "1,000,000 facts")}

    assert leases == {"growth-sqlite": {(100, ""), *from_a_thousand}, "growth-postgres": from_a_thousand}


def test_a_selection_of_cases_is_all_there_is() -> None:
    """`--cases` leaves nothing else in."""
    assert {cell.case for cell in cells(planned(cases=["floor", "refresh"]))} == {"floor", "refresh"}


def test_a_selection_of_connections_is_all_there_is() -> None:
    """`--connections` leaves nothing else in where a case can be measured so."""
    found = planned(cases=["floor", "refresh"], connections=[16], with_scales=False)

    assert {cell.connections for cell in cells(found)} == {16}


def test_a_case_with_connections_of_its_own_is_measured_all_the_same() -> None:
    """Bulk refreshes come over few connections, whatever was asked for."""
    found = planned(cases=["bulk-refresh"], connections=[64], with_scales=False)

    assert {(cell.place.store, cell.connections) for cell in cells(found)} == {(SQLITE, 4), (POSTGRES, 4)}


def test_a_database_that_is_not_there_is_left_out() -> None:
    """Without PostgreSQL no cell needs it."""
    assert POSTGRES not in {cell.place.store for cell in cells(planned(stores=[SQLITE]))}


def test_without_scales_only_the_main_phase_is_left() -> None:
    """`--no-scales` leaves out growth, many entitlements and large pools."""
    assert [phase.name for phase in planned(with_scales=False)] == ["main-sqlite", "main-postgres"]


def test_each_database_has_its_own_floor_and_no_server_of_the_other_beside_it() -> None:
    """A server that only stands by would slow the others down."""
    main = [phase for phase in planned() if phase.name.startswith("main-")]

    assert [{place.store for place in phase.places} for phase in main] == [{"none", SQLITE}, {"none", POSTGRES}]
    assert all("floor" in {cell.case for cell in phase.cells} for phase in main)

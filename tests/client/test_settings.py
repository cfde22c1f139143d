"""Where an application finds its settings: trust is the vendor's, place is the customer's."""

from collections.abc import Callable
from pathlib import Path

import pytest

from seatkeeper import ConfigurationError
from seatkeeper._settings import Given, Settings, find_settings, read_servers, settings_files
from seatkeeper.protocol.codes import make_code
from seatkeeper.testing import FakeServer

KEY = FakeServer().public_key
OTHER_KEY = FakeServer().public_key
ENVIRONMENT = {
    "SEATKEEPER_TENANT": "t_env",
    "SEATKEEPER_PRODUCT": "prod_env",
    "SEATKEEPER_PUBLIC_KEY": KEY,
    "SEATKEEPER_SERVER": "http://env.example",
    "SEATKEEPER_CODE": "env-code",
}


def find(given: Given | None = None, files: list[Path] | None = None, **environment: str) -> Settings:
    return find_settings(given or Given(), environment=ENVIRONMENT | environment, files=files or [])


def test_the_environment_is_enough() -> None:
    """`. ./acme.env` and nothing else."""
    settings = find()

    assert (settings.tenant, settings.product, settings.code) == ("t_env", "prod_env", "env-code")
    assert settings.servers == ("http://env.example",)


def test_what_is_trusted_comes_from_the_code_first() -> None:
    """A customer can't swap the vendor's key."""
    settings = find(Given(tenant="t_code", product="prod_code", public_key=OTHER_KEY))

    assert (settings.tenant, settings.product) == ("t_code", "prod_code")
    assert settings.roots[0] != find().roots[0]


def test_where_the_server_is_comes_from_the_environment_first() -> None:
    """A customer can point a program at his own server."""
    settings = find(Given(server="http://code.example", code="code-code"))

    assert (settings.servers, settings.code) == (("http://env.example",), "env-code")


def test_a_command_line_comes_before_the_environment() -> None:
    """Who writes --server means it."""
    assert find(Given(server="http://cli.example", insists=True)).servers == ("http://cli.example",)


def test_files_stand_between(tmp_path: Path) -> None:
    """Trust: code, file, environment. Place: environment, file, code. The user's file before the site's."""
    user, site = tmp_path / "user.toml", tmp_path / "site.toml"
    user.write_text('server = "http://user.example"\ntenant = "t_user"\n')
    site.write_text('server = "http://site.example"\ncontact = "it@example.com"\n')
    environment = {key: value for key, value in ENVIRONMENT.items() if key != "SEATKEEPER_SERVER"}
    settings = find_settings(Given(server="http://code.example"), environment=environment, files=[user, site])

    assert (settings.tenant, settings.servers) == ("t_user", ("http://user.example",))
    assert settings.contact == "it@example.com"


def test_a_products_own_settings_come_first(tmp_path: Path) -> None:
    """Vendors share machines: SEATKEEPER_SOLVER_SERVER before SEATKEEPER_SERVER, [solver] before the top level."""
    file = tmp_path / "settings.toml"
    file.write_text('contact = "anybody"\n[solver]\ncontact = "solver people"\n')
    settings = find(Given(name="solver"), [file], SEATKEEPER_SOLVER_SERVER="http://solver.example")

    assert (settings.servers, settings.contact) == (("http://solver.example",), "solver people")


def test_a_code_can_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    """As container orchestrators hand out secrets."""
    (tmp_path / "code").write_text("secret-code\n")
    environment = {key: value for key, value in ENVIRONMENT.items() if key != "SEATKEEPER_CODE"}
    environment["SEATKEEPER_CODE_FILE"] = str(tmp_path / "code")

    assert find_settings(Given(), environment=environment, files=[]).code == "secret-code"


@pytest.mark.parametrize("missing", sorted(ENVIRONMENT))
def test_what_is_missing_is_named(missing: str) -> None:
    """The message says which variable to set."""
    environment = {key: value for key, value in ENVIRONMENT.items() if key != missing}

    with pytest.raises(ConfigurationError, match=missing):
        find_settings(Given(), environment=environment, files=[])


def test_everything_that_is_missing_is_told_at_once() -> None:
    """Nobody wants to learn of five settings in five attempts."""
    with pytest.raises(ConfigurationError) as error:
        find_settings(Given(), environment={}, files=[])
    assert all(variable in str(error.value) for variable in ENVIRONMENT)


@pytest.mark.parametrize("change", [lambda code: swapped(code, 3), lambda code: code.lower()[:-1] + other(code[-1])])
def test_a_mistyped_code_is_found_before_anything_is_sent(change: Callable[[str], str]) -> None:
    """By its check character; the message shows no more than the last four."""
    code = make_code(bytes(range(15)))
    with pytest.raises(ConfigurationError, match="mistyped") as error:
        find(SEATKEEPER_CODE=change(code))
    assert code[:5] not in str(error.value)


@pytest.mark.parametrize(
    "code",
    [
        make_code(bytes(range(15))),
        make_code(bytes(range(15))).lower().replace("-", " "),
        "ACME-2026-0001",
        "UUUUU-UUUUU-UUUUU-UUUUU-UUUUU",
        "wrong",
    ],
)
def test_other_codes_are_sent_as_they_are(code: str) -> None:
    """A vendor may have codes of his own; ours have many spellings."""
    assert find(SEATKEEPER_CODE=code).code == code


def swapped(code: str, at: int) -> str:
    """Swap two neighbours."""
    return code[:at] + code[at + 1] + code[at] + code[at + 2 :]


def other(character: str) -> str:
    return "7" if character != "7" else "8"


@pytest.mark.parametrize("line", ["server = 27.5", 'code = ["one"]', "contact = true", 'server = { url = "x" }'])
def test_a_value_of_the_wrong_kind_is_a_mistake(tmp_path: Path, line: str) -> None:
    """The setting was meant: it is not passed over, and its file is named."""
    file = tmp_path / "seatkeeper.toml"
    file.write_text(line)

    with pytest.raises(ConfigurationError, match=rf"seatkeeper\.toml: {line.split()[0]} must be text"):
        find(files=[file])


def test_another_products_mistakes_stop_nobody(tmp_path: Path) -> None:
    """Vendors share the file."""
    file = tmp_path / "seatkeeper.toml"
    file.write_text("[mesher]\nserver = 27.5\n")

    assert find(Given(name="solver"), [file]).servers == ("http://env.example",)


def test_a_key_that_is_no_setting_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also within a product's table; it stops nobody, for a newer version may know it. Tables are other products'."""
    file = tmp_path / "seatkeeper.toml"
    file.write_text('sever = "http://x.example"\n[solver]\ncod = "y"\nserver = "http://solver.example"\n')
    settings = find(Given(name="solver"), [file])

    assert settings.servers == ("http://env.example",)
    assert caplog.records[0].name == "seatkeeper"
    assert ["key=sever" in caplog.text, "key=cod " in caplog.text, "key=solver" in caplog.text] == [True, True, False]


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("27000@one.example", ("http://one.example:27000",)),
        ("27000@one.example, 27001@two.example", ("http://one.example:27000", "http://two.example:27001")),
        ("https://one.example/licensing/", ("https://one.example/licensing",)),
        ("27000@::1", ("http://[::1]:27000",)),
    ],
)
def test_a_server_is_a_url_or_port_at_host(text: str, servers: tuple[str, ...]) -> None:
    """Both spellings, alone or in a list."""
    assert read_servers(text) == servers


@pytest.mark.parametrize("text", ["licenses.example", "ftp://one.example", "port@one.example", " , "])
def test_anything_else_is_no_server(text: str) -> None:
    """Refused with the two spellings in the message."""
    with pytest.raises(ConfigurationError, match="port@host"):
        read_servers(text)


def test_two_keys_are_pinned_while_a_root_is_replaced() -> None:
    """Old and new, with a comma or as a list."""
    assert len(find(Given(public_key=[KEY, OTHER_KEY])).roots) == 2


def test_a_key_that_is_none_is_refused() -> None:
    """A truncated copy is a mistake of configuration, not a different key."""
    with pytest.raises(ConfigurationError, match="public_key"):
        find(Given(public_key=KEY[:-1]))


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    """A typing error in a file is not silently ignored."""
    file = tmp_path / "settings.toml"
    file.write_text("server = ")

    with pytest.raises(ConfigurationError, match=r"settings\.toml"):
        find(files=[file])


def test_the_users_file_comes_before_the_sites() -> None:
    """Where the files are."""
    user, site = settings_files()

    assert (user.name, site.name) == ("seatkeeper.toml", "seatkeeper.toml")
    assert str(site).startswith("/etc/seatkeeper")

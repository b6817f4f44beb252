"""`hum gateway password`: it sets what the operator signs in with, and ends what a former one has
opened."""

import time
from pathlib import Path

from typer import Typer
from typer.testing import CliRunner

from broker.cli.deployment.gateway import gateway_app
from broker.cli.deployment.init import init
from broker.gateway.book import tokens
from broker.gateway.book.book import Book
from broker.gateway.page import password


def test_a_password_is_set_and_ends_what_a_former_one_has_opened(tmp_path: Path) -> None:
    commands = Typer()
    commands.command("init")(init)
    street = tmp_path / "street"
    assert CliRunner().invoke(commands, [str(street), "--host", "localhost"]).exit_code == 0
    set_it = ["password", "--dir", str(street), "--stdin"]
    assert CliRunner().invoke(gateway_app, set_it, "four random words suffice\n").exit_code == 0
    folder = street / "gateway"
    assert password.matches(folder, "four random words suffice")
    book = Book(folder)
    session = book.write(tokens.make, tokens.OPERATOR, password.NOTE, None)[1]
    other = book.write(tokens.make, tokens.OPERATOR, "a display's", None)[1]
    short = CliRunner().invoke(gateway_app, set_it, "short\n")
    assert isinstance(short.exception, password.PasswordError)
    assert book.read(tokens.find, session, time.time())
    assert CliRunner().invoke(gateway_app, set_it, "another that is long enough\n").exit_code == 0
    assert not password.matches(folder, "four random words suffice")
    assert book.read(tokens.find, session, time.time()) is None
    assert book.read(tokens.find, other, time.time())
    book.close()

"""`hum coordinator signer`, and what the authority makes of it: the key of gossip-bft's blind
signatures."""

from pathlib import Path
from typing import Annotated

import typer

from broker.authority.errors import AuthorityError
from broker.cli.options import STATE, AsJson, StateFolder, show
from broker.coordinator.home import Home, HomeError
from broker.coordinator.protocols.gossip.blind_signer import BlindSigner, BlindSignerError, read_statement
from broker.files import replace

STATEMENT_MOST = 8192  # bytes of a file


def signer(
    output: Annotated[Path, typer.Option("--output", help="Where the statement goes, for `hum authority roster`.")],
    state: StateFolder = STATE,
    as_json: AsJson = False,
) -> None:
    """Make the key of gossip-bft's blind signatures, if there is none, and write what the authority
    wants of it."""
    try:
        made = BlindSigner(Home(state).folder)
    except BlindSignerError as error:
        raise HomeError(error.args[0]) from None
    replace(output, (made.statement().hex() + "\n").encode())
    show(as_json, {"signer": made.modulus.hex()[:16], "statement": str(output)})


def modulus(path: Path) -> bytes:
    """Return the modulus in the statement in a file. Raises AuthorityError unless its proof
    holds."""
    try:
        with path.open("rb") as file:
            return read_statement(bytes.fromhex(file.read(STATEMENT_MOST).decode("ascii")))
    except OSError as error:
        raise AuthorityError(f"{path}: {error.strerror}") from None
    except (ValueError, BlindSignerError):
        raise AuthorityError(f"{path} is no statement of a signer; `hum coordinator signer` writes one") from None

"""All checks of a deployment, in the order in which one thing rests on another."""

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from broker.deployment.checkup import broker, clock, files, gateway, keys
from broker.deployment.checkup.findings import Check, Finding
from broker.deployment.folder import Deployment, NoDeployment, where
from broker.deployment.settings import FILE
from broker.errors import HumError

CHECKS: tuple[Check, ...] = (
    files.folders,
    files.secrets,
    keys.authority,
    keys.coordinator,
    broker.configured,
    broker.reached,
    gateway.gateway,
    clock.compared,
)


def examine(folder: Path | None) -> Iterator[Finding]:
    """Yield what each check finds in the deployment in `folder`; of the current folder, or of
    $HUM_DIR, if there is none. Raises NoDeployment where nothing says which one."""
    try:
        deployment = Deployment.find(folder)
    except NoDeployment as error:
        place = where(folder)
        if place is None or not place.is_dir():
            raise
        yield Finding(FILE, str(error.args[0]), f"run the same `hum init` again, or restore {place / FILE} from a copy")
        return
    except HumError as error:
        yield Finding(FILE, str(error.args[0]), "correct it; what each key may be stands beside it")
        return
    yield Finding(FILE)
    for check in CHECKS:
        try:
            yield from check(deployment)
        except (HumError, OSError, SQLAlchemyError) as error:
            yield Finding(check.__name__, str(error).splitlines()[0], "put right what is said above, and try again")

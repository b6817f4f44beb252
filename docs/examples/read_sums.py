"""Read the sums of a deployment in a folder that holds the keys of its groups only, GROUP.key:

python read_sums.py HOST PORT DEPLOYMENT AUTHORITY [PASSWORD [CA.pem]]
"""

import asyncio
import sys
from datetime import datetime
from pathlib import Path

from broker.client import Access, Reader, RoundResult, follow
from broker.transport.link import Link


async def main(
    host: str, port: str, deployment: str, authority: str, password: str | None = None, ca: str | None = None
) -> None:
    reader = Reader(Access.load(Path(), deployment, authority))
    link = Link(host, int(port), "client" if password else None, password, ca)
    async for result in follow(link, reader):
        if isinstance(result, RoundResult) and result.sums is not None:
            sums = dict(zip(result.slots, result.sums, strict=True))
            of = datetime.fromtimestamp(result.instant).isoformat() if result.instant else "-"
            print(result.group, result.round, of, sums, "without", result.missing, flush=True)


asyncio.run(main(*sys.argv[1:]))

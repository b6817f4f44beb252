"""A Mosquitto that somebody runs already, with a user and files of his own, and `systemctl` for it as
its packaged unit has it: a real Mosquitto, no systemd."""

import asyncio
import os
import shlex
from pathlib import Path

from broker.deploy.mosquitto import configuration, passwords
from broker.transport.link import Link

USER, PASSWORD, TOPIC = "lamp", "their own secret", "lamps/hall"
MAIN = """\
per_listener_settings true
user {user}
log_type all
include_dir {folder}/conf.d
"""
LISTENER = """\
listener {port} 127.0.0.1
allow_anonymous false
password_file {folder}/passwd
acl_file {folder}/acl
"""
# ExecReload and a restart, of the unit in Debian's package.
SYSTEMCTL = """\
#!/bin/sh
case "$1" in
start) {start} ;;
reload) kill -HUP "$(cat {folder}/pid)" ;;
restart)
    kill "$(cat {folder}/pid)"
    while kill -0 "$(cat {folder}/pid)" 2> {folder}/none; do sleep 0.1; done
    {start} ;;
*) exit 2 ;;
esac
"""
START = "{program} -c {folder}/mosquitto.conf >> {folder}/log 2>&1 & echo $! > {folder}/pid"


class TheirMosquitto:
    """Its files are in `folder`; `tools` gets the command `systemctl`. It listens on `port`."""

    def __init__(self, folder: Path, tools: Path, port: int) -> None:
        self.folder, self.port = folder, port
        (folder / "conf.d").mkdir(parents=True)
        (folder / "passwd").write_bytes(passwords.file_of({USER: PASSWORD}))
        (folder / "acl").write_text(f"user {USER}\ntopic readwrite lamps/#\n")
        user = "root" if os.geteuid() == 0 else "nobody"
        (folder / "mosquitto.conf").write_text(MAIN.format(user=user, folder=folder))
        (folder / "conf.d/lamps.conf").write_text(LISTENER.format(port=port, folder=folder))
        start = START.format(program=shlex.quote(configuration.find()), folder=folder)
        script = tools / "systemctl"
        script.write_text(SYSTEMCTL.format(folder=folder, start=start))
        script.chmod(0o700)
        self._before = self._files()

    def _files(self) -> dict[str, bytes]:
        return {
            name: (self.folder / name).read_bytes() for name in ("mosquitto.conf", "conf.d/lamps.conf", "passwd", "acl")
        }

    def is_theirs_still(self) -> bool:
        """Tell whether no file of theirs has changed, and their user is let in."""
        return self._files() == self._before and asyncio.run(self._enter())

    async def _enter(self) -> bool:
        async with Link("127.0.0.1", self.port, USER, PASSWORD, None).connect("lamp-1") as connection:
            await connection.subscribe(TOPIC)
            await connection.publish(TOPIC, b"on")
            async for message in connection.messages():
                return message.topic == TOPIC
        return False

    def said(self, text: str) -> int:
        """Return how often its log has a text."""
        return (self.folder / "log").read_text(errors="replace").count(text)

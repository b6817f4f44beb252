"""Where the broker is, and as whom to go there."""

import socket
from dataclasses import dataclass
from typing import Any

import aiomqtt

# Small packets follow each other here; Nagle's algorithm would hold each for the other side's
# delayed acknowledgement.
NO_DELAY = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)


@dataclass(frozen=True)
class Link:
    """An address, and what the broker and its user are known by; `ca` turns TLS on."""

    host: str
    port: int
    username: str | None
    password: str | None
    ca: str | None

    def client(self, identifier: str, **options: Any) -> aiomqtt.Client:
        """Return a client that is not connected yet; `options` are aiomqtt's own."""
        return aiomqtt.Client(
            self.host,
            self.port,
            username=self.username,
            password=self.password,
            identifier=identifier,
            tls_params=aiomqtt.TLSParameters(ca_certs=self.ca) if self.ca else None,
            socket_options=NO_DELAY,
            **options,
        )

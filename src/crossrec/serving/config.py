"""Where the service listens, who may ask, and how much."""

from __future__ import annotations

import ipaddress

from pydantic import Field, field_validator

from crossrec.config import Config
from crossrec.errors import ConfigError

MIN_TOKEN = 16
"""Characters of the shortest token that is taken."""


class ServeConfig(Config):
    """Address, token and limits of the service."""

    host: str = "127.0.0.1"
    """Address to listen on. Any but this machine's own needs a token."""

    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 for any that is free."""

    token: str | None = Field(default=None, repr=False)
    """What requests must bring as 'Authorization: Bearer TOKEN'; $CROSSREC_TOKEN keeps it out of lists of processes."""

    hosts: tuple[str, ...] = ()
    """Further names that a request may be addressed to, where a proxy passes the name on that it was asked by."""

    max_k: int = Field(default=1000, ge=1)
    """Longest list that is made."""

    max_ids: int = Field(default=1000, ge=1)
    """Most ids in a history, and in what is allowed or denied."""

    max_body: int = Field(default=2**20, ge=1024)
    """Bytes of the largest request."""

    rate: float = Field(default=200.0, ge=0)
    """Requests a second from one address, with twice as many at once; 0 for no limit."""

    waiting: int = Field(default=128, ge=1)
    """Requests that are worked on or wait at a time; further ones are told to come again."""

    threads: int = Field(default=2, ge=1)
    """Threads that compute."""

    watch: float = Field(default=2.0, ge=0)
    """Seconds between looks for a new run in the place of a served one; 0 for none."""

    @field_validator("token")
    @classmethod
    def _strong(cls, token: str | None) -> str | None:
        if token is not None and (len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable()):
            raise ValueError(f"give at least {MIN_TOKEN} printable ASCII characters, say of secrets.token_urlsafe()")
        return token

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def check(self) -> None:
        """Raise ConfigError where others could reach the service and nothing would keep them out."""
        if not self.loopback and self.token is None:
            raise ConfigError(
                f"--host {self.host}: others can reach it, so it needs a token: set CROSSREC_TOKEN (or --token), "
                "or leave --host out to serve this machine only"
            )

"""Settings of the service: address, token and limits."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pydantic import Field, field_validator

from crossrec.config import Config
from crossrec.errors import ConfigError

MIN_TOKEN = 16
"""Least length of a token."""


class ServeConfig(Config):
    """Address, token and limits of the service."""

    host: str = "127.0.0.1"
    """Address to listen on. Any address but this machine's own needs a token."""

    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 for any free one."""

    token: str | None = Field(default=None, repr=False)
    """Token that requests must send as 'Authorization: Bearer TOKEN'; $CROSSREC_TOKEN hides it from process lists."""

    hosts: tuple[str, ...] = ()
    """Further host names to answer to, for a proxy that passes on the Host header."""

    max_k: int = Field(default=1000, ge=1, le=1_000_000)
    """Longest list to return."""

    max_ids: int = Field(default=1000, ge=1, le=1_000_000)
    """Most ids in a history, in allow and in deny."""

    max_body: int = Field(default=2**20, ge=1024, le=2**30)
    """Bytes of the largest request body."""

    rate: float = Field(default=200.0, ge=0)
    """Requests a second from one address, with bursts of twice as many; 0 for no limit."""

    waiting: int = Field(default=128, ge=1, le=100_000)
    """Most requests in progress or waiting; further ones get status 503."""

    threads: int = Field(default=2, ge=1, le=1024)
    """Threads that compute answers."""

    ab_share: float | None = Field(default=None, ge=0, le=1)
    """With two runs: share of the users whom the second one answers, chosen by their ids; the others get the first."""

    feedback: Path | None = None
    """CSV file to which POST /v1/feedback appends what people did: user, item, time, event, run, identity."""

    watch: float = Field(default=2.0, ge=0)
    """Seconds between checks for a new run in the place of a served one; 0 for none."""

    @field_validator("token")
    @classmethod
    def _check_token(cls, token: str | None) -> str | None:
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
        """Raise ConfigError if other machines can reach the service and no token protects it."""
        if not self.loopback and self.token is None:
            raise ConfigError(
                f"--host {self.host}: others can reach it, so it needs a token: set CROSSREC_TOKEN (or --token), "
                "or leave --host out to serve this machine only"
            )

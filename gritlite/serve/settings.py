"""What the server is told when it starts. Nothing of it changes while it runs."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from gritlite.errors import UsageError
from gritlite.prompt import QUERY_INSTRUCTION

DEFAULT_PORT = 8080


@dataclass(frozen=True)
class Settings:
    """How the server listens, who may ask it, and how much at once.

    `name` is what clients call the model, `stores` the files of its stores by name. `port` 0 is
    any free one; `uds` a Unix socket's path, in place of host and port. `key` must be in every
    request if it is set. `cors_origins` are origins of web pages besides those of this machine,
    and `allowed_hosts` names of this machine that requests may carry in `Host`; "*" is any.
    `parallel` answers are generated at once; `queue` more requests of each kind wait.
    `max_body` is in bytes, `keep_alive`, the pause between comments in a silent stream, in
    seconds. `query_instruction` is what queries are embedded for where a request only says
    that it has queries.

    Raises UsageError for settings that are not safe or do not go together.
    """

    name: str
    stores: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    uds: Path | None = None
    key: str | None = field(default=None, repr=False)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    parallel: int = 4
    queue: int = 64
    max_body: int = 32 << 20
    keep_alive: float = 15.0
    query_instruction: str = QUERY_INSTRUCTION

    def __post_init__(self) -> None:
        if self.key is None and not self.is_local:
            raise UsageError(
                f"without a key anybody who reaches {self.host} could use the model: give a key, "
                "or listen on 127.0.0.1"
            )
        if self.key is not None and not (self.key.isascii() and self.key.isprintable()):
            raise UsageError("the key may only have printable ASCII characters")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise UsageError("TLS needs a certificate and its key: give both")
        if self.key is None and "*" in (*self.allowed_hosts, *self.cors_origins):
            raise UsageError("without a key any web page could use the model: give a key")

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the server."""
        return self.uds is not None or is_loopback(self.host)

    @property
    def is_everywhere(self) -> bool:
        """Whether the host stands for all addresses of this machine: 0.0.0.0 or ::."""
        try:
            return self.uds is None and ipaddress.ip_address(self.host).is_unspecified
        except ValueError:
            return False


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is that of this machine itself."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""What can be set about the local stack, by environment variable."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from local.processes import PartError


@dataclass(frozen=True)
class StackSettings:
    http_port: int
    amqp_port: int
    table_port: int
    blob_port: int
    data_dir: Path
    sample: bool

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Raises PartError naming the variable that is wrong."""

        def port(name: str, default: int) -> int:
            text = env.get(name) or str(default)
            if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
                raise PartError(f"{name} should be a port number from 1 to 65535, not {text!r}")
            return int(text)

        if env.get("SAMPLE", "") not in ("", "0", "1"):
            raise PartError(f"SAMPLE should be 0 or 1, not {env['SAMPLE']!r}")
        settings = cls(
            port("HTTP_PORT", 7071),
            port("AMQP_PORT", 5672),
            port("TABLE_PORT", 10002),
            port("BLOB_PORT", 10000),
            Path(env.get("DATA_DIR") or ".data").resolve(),
            env.get("SAMPLE") != "0",
        )
        numbers = list(settings.ports.values())
        if same := [name for name, number in settings.ports.items() if numbers.count(number) > 1]:
            raise PartError(f"{' and '.join(same)} are the same port, and each part needs its own")
        return settings

    @property
    def ports(self) -> dict[str, int]:
        return {
            "HTTP_PORT": self.http_port,
            "AMQP_PORT": self.amqp_port,
            "TABLE_PORT": self.table_port,
            "BLOB_PORT": self.blob_port,
        }

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

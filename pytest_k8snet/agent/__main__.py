"""Answers for a Pod, and asks for it.

python3 -m agent serve --name NAME --state DIR [--port main/tcp=8080 ...]
[--loopback 0] [--first "ADDRESS PORT"]
python3 -m agent control [--name NAME] [--state DIR] [--container main]
python3 -m agent facts --out FILE | look --out FILE
python3 -m agent probe '{"op": "connect", ...}'
python3 -m agent tcp|sctp ADDRESS PORT | udp ADDRESS PORT [SIZE | mtu]
python3 -m agent dns SERVER|- NAME TYPE [tcp] | lookup NAME
python3 -m agent fetch ADDRESS PORT HOST/PATH
"""

from __future__ import annotations

import sys
from importlib import import_module

from .options import Options

COMMANDS = {
    "serve": "serving",
    "control": "control",
    "facts": "container",
    "look": "node",
}
"""Where the function is that runs a command."""

BY_HAND = frozenset({"probe", "tcp", "udp", "sctp", "dns", "lookup", "fetch"})


def main(arguments: list[str]) -> int:
    """Run a command."""
    command, *rest = arguments or [""]
    if command in COMMANDS:
        module = import_module(f".{COMMANDS[command]}", __package__)
        code: int = getattr(module, command)(Options(rest))
        return code
    if command in BY_HAND:
        from .by_hand import spelled, tell  # noqa: PLC0415 - for people only

        try:
            request = spelled(command, Options(rest).words)
        except (ValueError, IndexError):
            raise SystemExit(__doc__) from None
        return tell(request, as_json=command == "probe")
    raise SystemExit(__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

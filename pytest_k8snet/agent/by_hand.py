"""Single probes, spelled and told in words."""

from __future__ import annotations

import json

from .operations import run
from .outcomes import ANSWERED, CONNECTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .probe import Reply


def spelled(command: str, words: list[str]) -> Reply:
    """Make the request that a person spelled as words.

    Raises ValueError or IndexError when they spell none.
    """
    if command == "probe":
        request: Reply = json.loads(words[0])
        return request
    if command == "dns":
        server, name, kind, *transport = words
        how = {"type": kind, "transport": "tcp" if transport else "udp"}
        return {"op": "dns", "server": server, "name": name, **how}
    if command == "lookup":
        return {"op": "lookup", "name": words[0], "timeout": 25}
    address, port, *size = words
    if command == "fetch":
        host, _, path = size[0].partition("/")
        where = {"address": address, "port": int(port), "host": host}
        return {"op": "fetch", **where, "path": f"/{path}", "tls": port == "443"}
    request = {"protocol": command, "address": address, "port": int(port)}
    if size == ["mtu"]:
        return {"op": "full-size", **request}
    return {"op": "connect", "size": int(size[0]) if size else 0, **request}


def sentence(reply: Reply) -> str:
    """Say in one line what a probe saw."""
    said = f"{reply['outcome']} ({reply['seconds'] * 1000:.1f} ms)"
    if reply["phase"]:
        said += f" in phase {reply['phase']}"
    if reply["detail"]:
        said += f": {reply['detail']}"
    if reply.get("icmp"):
        said += f" (ICMP {reply['icmp']})"
    if reply["outcome"] == CONNECTED:
        if reply.get("mtu"):
            said += f" at MTU {reply['mtu']}"
        return f"{said}: {reply['who']} at {reply['local']} saw {reply['peer']}"
    return " ".join([said, *reply["values"]])


def tell(request: Reply, *, as_json: bool) -> int:
    """Run one probe for a person; give the exit code."""
    reply = run(request).reply
    print(json.dumps(reply) if as_json else sentence(reply), flush=True)
    return 0 if reply["outcome"] in (CONNECTED, ANSWERED) else 1

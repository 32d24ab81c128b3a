"""Options, ini keys and environment variables: one table, three ways to say it."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_k8snet.defaults import DEFAULT_IMAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_k8snet.model import Feature

PREFIX_PATTERN = re.compile(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?")


@dataclass(frozen=True)
class Option:
    """One thing the user can say.

    The option ``--k8snet-image`` is also the ini key ``k8snet_image`` and the
    environment variable ``K8SNET_IMAGE``; the option wins, then the variable.
    """

    name: str
    help: str
    default: Any = None
    metavar: str = "VALUE"
    parse: Callable[[str], Any] = str
    flag: bool = False
    option: str = ""

    @property
    def key(self) -> str:
        """Give the ini key."""
        return f"k8snet_{self.name.replace('-', '_')}"

    @property
    def variable(self) -> str:
        """Give the environment variable."""
        return self.key.upper()

    @property
    def switch(self) -> str:
        """Give the command line option."""
        return self.option or f"--k8snet-{self.name}"


def seconds(text: str) -> float:
    """Read a positive number of seconds; a trailing ``s`` is allowed."""
    try:
        value = float(text.removesuffix("s"))
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError("a positive number of seconds, such as 4 or 2.5s")
    return value


def seconds_or_none(text: str) -> float:
    """Read a number of seconds, or 0 for not waiting."""
    return 0.0 if text.removesuffix("s") == "0" else seconds(text)


def prefix(text: str) -> str:
    """Read the beginning of a namespace's name."""
    if not PREFIX_PATTERN.fullmatch(text):
        raise ValueError("at most 30 lower-case letters, digits and inner dashes")
    return text


def toleration(text: str) -> dict[str, str]:
    """Read one toleration as kubectl writes taints: ``key[=value][:Effect]``."""
    body, _, effect = text.partition(":")
    key, equals, value = body.partition("=")
    effects = ("", "NoSchedule", "PreferNoSchedule", "NoExecute")
    if effect not in effects or not key:
        raise ValueError("key[=value][:Effect] with one of " + ", ".join(effects[1:]))
    made = {"key": key, "operator": "Equal" if equals else "Exists"}
    if equals:
        made["value"] = value
    if effect:
        made["effect"] = effect
    return made


def tolerations(text: str) -> tuple[dict[str, str], ...]:
    """Read tolerations, comma-separated; ``all`` and ``none`` stand for themselves."""
    if text == "all":
        return ({"operator": "Exists"},)
    if text in {"none", ""}:
        return ()
    return tuple(toleration(one.strip()) for one in text.split(","))


def port_pair(text: str) -> tuple[int, int]:
    """Read two ports, for HTTP and for HTTPS."""
    ports = [int(part) for part in text.split(",") if part.strip().isdecimal()]
    if len(ports) != text.count(",") + 1 or len(ports) != 2 or max(ports) > 65535:  # noqa: PLR2004
        raise ValueError("two ports, for HTTP and for HTTPS, such as 8000,8443")
    return ports[0], ports[1]


def one_of(*words: str) -> Callable[[str], str]:
    """Make a reader of one of some words."""

    def read_word(text: str) -> str:
        if text not in words:
            raise ValueError(f"{', '.join(words[:-1])} or {words[-1]}")
        return text

    return read_word


def features(text: str) -> frozenset[Feature]:
    """Read the features that a cluster claims, comma-separated."""
    from pytest_k8snet.model import Feature  # noqa: PLC0415 - only when asked

    try:
        return frozenset(Feature(one.strip()) for one in text.split(",") if one.strip())
    except ValueError:
        known = ", ".join(Feature)
        raise ValueError(f"a comma-separated list of {known}") from None


def host_and_port(text: str) -> str:
    """Read where to connect to: ``HOST:PORT``, an IPv6 address in brackets."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < PORTS:
        raise ValueError("HOST:PORT, such as example.org:443 or [2001:db8::1]:443")
    return f"{host.strip('[]')}:{port}"


def address(text: str) -> str:
    """Read an IP address."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("an IP address, such as 192.0.2.1 or 2001:db8::1") from None


PORTS = 65536
OPTIONS = (
    Option(
        "context",
        "kubeconfig context of the cluster to test; with no path given, runs the "
        "shipped suite. The current context is never used",
        metavar="NAME",
        option="--k8s-context",
    ),
    Option(
        "cluster",
        "make a local cluster from this kind configuration, test it, and remove it",
        metavar="FILE",
    ),
    Option(
        "provider",
        "how --k8snet-cluster makes it: kind, netns (Linux namespaces, root), or auto: "
        "kind where it is installed and a container engine answers",
        default="auto",
        metavar="WHICH",
        parse=one_of("auto", "kind", "netns"),
    ),
    Option(
        "install-packages",
        "let --k8snet-cluster install the distribution packages it needs",
        flag=True,
    ),
    Option(
        "kubeconfig",
        "kubeconfig file; default: $KUBECONFIG, then ~/.kube/config",
        metavar="FILE",
    ),
    Option(
        "image",
        f"image of the probe Pods: any with Python 3.9 or later as python3; default: "
        f"{DEFAULT_IMAGE}, on a local cluster its own",
        metavar="IMAGE",
    ),
    Option(
        "namespace-prefix",
        "what the names of the run's namespaces begin with",
        default="k8snet",
        metavar="PREFIX",
        parse=prefix,
    ),
    Option(
        "nodes",
        "label selector: test only these Nodes",
        default="",
        metavar="SELECTOR",
    ),
    Option(
        "tolerations",
        "taints that probe Pods tolerate: key[=value][:Effect], comma-separated, or "
        "all, or none",
        default=({"operator": "Exists"},),
        metavar="LIST",
        parse=tolerations,
    ),
    Option(
        "features",
        "features that the cluster claims beside those that are found, such as "
        "NetworkPolicy, comma-separated; one that does not work is a failure",
        default=frozenset(),
        metavar="LIST",
        parse=features,
    ),
    Option(
        "no-host-network",
        "create no host-network and no hostPort Pods: the rules that need them do not "
        "apply",
        flag=True,
    ),
    Option(
        "no-outside",
        "ask nothing from the machine that pytest runs on, such as one that a firewall "
        "keeps from the Nodes: the rules that ask from there do not apply",
        flag=True,
    ),
    Option(
        "inspect-nodes",
        "when something failed, look at the suspect Nodes themselves, and change "
        "nothing there: on each a privileged host-network Pod for some seconds, in a "
        "namespace of the run with the Pod Security level privileged",
        flag=True,
    ),
    Option(
        "profile",
        "quick: the core, with the fewest Pods; default; full: also what waits by "
        "nature. The checks of larger profiles are deselected",
        default="default",
        metavar="NAME",
        parse=one_of("quick", "default", "full"),
    ),
    Option(
        "egress-target",
        "something outside the cluster that Pods must be able to connect to",
        metavar="HOST:PORT",
        parse=host_and_port,
    ),
    Option(
        "upstream-name",
        "a name outside the cluster domain that Pods must be able to resolve",
        metavar="NAME",
    ),
    Option(
        "external-ip",
        "an address of which the cluster may serve port 80 as an externalIP; Pods "
        "must reach a Service at it",
        metavar="ADDRESS",
        parse=address,
    ),
    Option(
        "gateway-ports",
        "the ports that Gateways' listeners have to have for HTTP and HTTPS; default: "
        "8000,8443 for Traefik, else 80,443. Clients dial 80 and 443 in any case",
        metavar="HTTP,HTTPS",
        parse=port_pair,
    ),
    Option(
        "keep",
        "leave everything in the cluster for a look by hand; the first run that comes "
        "an hour later removes it",
        flag=True,
    ),
    Option(
        "cleanup",
        "remove the namespaces of every run and watch in the cluster, of those that "
        "are under way, too, and end",
        flag=True,
    ),
    Option(
        "plan",
        "print what would be created and asked, the ClusterRole and the time it "
        "needs; reads the cluster, and changes nothing",
        flag=True,
    ),
    Option("report", "folder for report.json, report.html and others", metavar="DIR"),
    Option(
        "baseline",
        "report.json of an earlier run: red is only what got worse since, or fails "
        "without having been judged then",
        metavar="FILE",
    ),
    Option(
        "deviations",
        "known deviations; default: k8snet-deviations.toml, if there is one here",
        metavar="FILE",
    ),
    Option(
        "timeout-api",
        "seconds for one API request, retries included",
        default=30.0,
        metavar="S",
        parse=seconds,
    ),
    Option(
        "timeout-ready",
        "seconds for all probe Pods together to become ready",
        default=90.0,
        metavar="S",
        parse=seconds,
    ),
    Option(
        "timeout-connect",
        "seconds for an agent's control stream to open",
        default=20.0,
        metavar="S",
        parse=seconds,
    ),
    Option(
        "timeout-probe",
        "seconds without an answer after which a probe has timed out; every other "
        "time-out scales with it, and the time that changes have to take effect",
        default=4.0,
        metavar="S",
        parse=seconds,
    ),
    Option(
        "timeout-evidence",
        "seconds to look closer at what failed, all of it together",
        default=10.0,
        metavar="S",
        parse=seconds,
    ),
    Option(
        "timeout-cleanup",
        "seconds to wait at the end until our namespaces are gone; their removal is "
        "asked for in any case, and goes on without us",
        default=0.0,
        metavar="S",
        parse=seconds_or_none,
    ),
)


@dataclass(frozen=True)
class Settings:
    """What the user said, validated. ``origin`` names where each came from."""

    values: dict[str, Any]
    origin: dict[str, str]

    def __getitem__(self, name: str) -> Any:
        """Give an option's value by its name without prefix."""
        return self.values[name]

    @property
    def given(self) -> dict[str, str]:
        """Give what rules are asked with, by names that fit into a format string."""
        wanted = ("egress-target", "upstream-name", "external-ip")
        given = {n.replace("-", "_"): str(self[n]) for n in wanted if self[n]}
        if target := self["egress-target"]:
            given["egress_host"], _, given["egress_port"] = target.rpartition(":")
        return given

    @property
    def active(self) -> bool:
        """Whether a cluster was named: without one the plugin does nothing."""
        return bool(self["context"] or self["cluster"])


def add_options(parser: pytest.Parser) -> None:
    """Register every option and its ini key."""
    group = parser.getgroup("k8snet", "Kubernetes network (pytest-k8snet)")
    for one in OPTIONS:
        number = isinstance(one.default, float)
        usual = f"; default: {one.default:g}" if number else ""
        help_text = f"{one.help}{usual} [{one.key}, {one.variable}]"
        kwargs: dict[str, Any] = {"dest": one.key, "default": None, "help": help_text}
        if one.flag:
            group.addoption(one.switch, action="store_true", **kwargs)
        else:
            group.addoption(one.switch, metavar=one.metavar, **kwargs)
        parser.addini(one.key, help_text, type="string", default="")


def read(config: pytest.Config) -> Settings:
    """Read all options.

    Raises:
        pytest.UsageError: naming the option, what was given and what is allowed.

    """
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for one in OPTIONS:
        given = config.getoption(one.key)
        if given is not None:
            where = one.switch
        elif given := os.environ.get(one.variable):
            where = f"${one.variable}"
        elif given := config.getini(one.key):
            where = f"{one.key} in {config.inipath or 'the ini file'}"
        else:
            values[one.name] = False if one.flag else one.default
            continue
        values[one.name] = _parsed(one, given, where)
        origin[one.name] = where
    return _checked(Settings(values, origin))


def _parsed(one: Option, given: Any, where: str) -> Any:
    if one.flag:
        if isinstance(given, bool):
            return given
        words = {"1": True, "true": True, "yes": True, "on": True}
        words |= {"0": False, "false": False, "no": False, "off": False}
        if given.lower() not in words:
            message = f"{where} is {given!r}, but should be true or false"
            raise pytest.UsageError(message)
        return words[given.lower()]
    try:
        return one.parse(str(given))
    except ValueError as error:
        message = f"{where} is {given!r}, but should be {error}"
        raise pytest.UsageError(message) from None


def _checked(settings: Settings) -> Settings:
    if settings["context"] and settings["cluster"]:
        raise pytest.UsageError(
            f"{settings.origin['context']} and {settings.origin['cluster']} exclude "
            "each other: one tests a cluster that exists, the other makes one"
        )
    if not settings.active:
        for name in ("cleanup", "plan"):
            if settings[name]:
                raise pytest.UsageError(
                    f"{settings.origin[name]} needs --k8s-context=NAME"
                )
    file = settings["cluster"]
    if file and not Path(file).is_file():
        raise pytest.UsageError(
            f"{settings.origin['cluster']}: there is no file {file!r}; the shipped "
            "ones are in the folder clusters/ of the repository"
        )
    return settings

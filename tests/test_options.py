"""One table of options: what is allowed, and who wins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_k8snet.model import Feature
from pytest_k8snet.plugin import options
from pytest_k8snet.plugin.options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

EXISTS = ({"operator": "Exists"},)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for one in OPTIONS:
        monkeypatch.delenv(one.variable, raising=False)


def read(pytester: pytest.Pytester, *args: str) -> options.Settings:
    return options.read(pytester.parseconfig(*args))


def test_names_differ_only_in_how_they_are_spelled() -> None:
    one = next(one for one in OPTIONS if one.name == "timeout-api")

    assert one.switch == "--k8snet-timeout-api"
    assert one.key == "k8snet_timeout_api"
    assert one.variable == "K8SNET_TIMEOUT_API"
    assert OPTIONS[0].switch == "--k8s-context"


def test_without_anything_said_the_plugin_is_inert(pytester: pytest.Pytester) -> None:
    settings = read(pytester)

    assert not settings.active
    assert settings.origin == {}
    assert settings["namespace-prefix"] == "k8snet"
    assert settings["tolerations"] == EXISTS
    assert settings["keep"] is False


@pytest.mark.parametrize(
    ("said", "value", "origin"),
    [
        ((True, True, True), "of-option", "--k8s-context"),
        ((False, True, True), "of-variable", "$K8SNET_CONTEXT"),
        ((False, False, True), "of-ini", "k8snet_context in *.ini"),
    ],
    ids=["option", "variable", "ini"],
)
def test_the_option_wins_then_the_variable_then_the_ini_key(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    said: tuple[bool, bool, bool],
    value: str,
    origin: str,
) -> None:
    option, variable, ini = said
    if variable:
        monkeypatch.setenv("K8SNET_CONTEXT", "of-variable")
    if ini:
        pytester.makeini("[pytest]\nk8snet_context = of-ini")

    settings = read(pytester, *(["--k8s-context=of-option"] if option else []))

    assert settings["context"] == value
    pytest.LineMatcher([settings.origin["context"]]).fnmatch_lines([origin])


def test_an_empty_variable_says_nothing(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K8SNET_CONTEXT", "")

    assert not read(pytester).active


@pytest.mark.parametrize(
    ("words", "meaning"),
    [("1 TRUE yes on", True), ("0 False no off", False)],
)
def test_a_flag_can_be_said_by_variable(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    meaning: object,
) -> None:
    for word in words.split():
        monkeypatch.setenv("K8SNET_KEEP", word)

        assert read(pytester)["keep"] is meaning
        assert read(pytester, "--k8snet-keep")["keep"] is True


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("timeout-api", "soon", "a positive number of seconds"),
        ("timeout-api", "", "a positive number of seconds"),
        ("timeout-ready", "-1", "a positive number of seconds"),
        ("timeout-connect", "0", "a positive number of seconds"),
        ("timeout-probe", "inf", "a positive number of seconds"),
        ("timeout-cleanup", "nan", "a positive number of seconds"),
        ("provider", "docker", "auto, kind or netns"),
        ("profile", "slow", "quick, default or full"),
        ("egress-target", "example.org", "HOST:PORT, such as example.org:443"),
        ("egress-target", "example.org:70000", "HOST:PORT"),
        ("external-ip", "example.org", "an IP address, such as 192.0.2.1"),
        ("namespace-prefix", "My", "lower-case letters, digits and inner dashes"),
        ("namespace-prefix", "x" * 31, "at most 30"),
        ("namespace-prefix", "x-", "inner dashes"),
        ("tolerations", "key:Sometimes", "NoSchedule, PreferNoSchedule, NoExecute"),
        ("tolerations", "=value", "key[=value][:Effect]"),
        ("features", "Teleport", "NetworkPolicy, DualStack"),
    ],
)
def test_a_bad_value_is_refused_with_what_is_allowed(
    pytester: pytest.Pytester, option: str, value: str, allowed: str
) -> None:
    result = pytester.runpytest(f"--k8snet-{option}={value}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = result.stderr.str()
    assert f"ERROR: --k8snet-{option} is {value!r}, but should be" in said
    assert allowed in said


def test_a_bad_variable_or_ini_key_is_named_as_what_it_is(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]\nk8snet_timeout_api = soon")

    assert "k8snet_timeout_api in /" in pytester.runpytest().stderr.str()

    monkeypatch.setenv("K8SNET_KEEP", "perhaps")

    said = pytester.runpytest("--k8snet-timeout-api=1").stderr.str()
    assert "$K8SNET_KEEP is 'perhaps', but should be true or false" in said


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            ("--k8s-context=x", "--k8snet-cluster=y"),
            "--k8s-context and --k8snet-cluster exclude each other",
        ),
        (("--k8snet-plan",), "--k8snet-plan needs --k8s-context=NAME"),
        (("--k8snet-cleanup",), "--k8snet-cleanup needs --k8s-context=NAME"),
        (("--k8snet-cluster=nowhere",), "there is no file 'nowhere'"),
    ],
)
def test_what_makes_no_sense_together_is_refused(
    pytester: pytest.Pytester, args: tuple[str, ...], said: str
) -> None:
    result = pytester.runpytest(*args)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str()


def test_cleaning_up_is_for_a_context_not_for_a_cluster_still_to_be_made(
    pytester: pytest.Pytester,
) -> None:
    file = pytester.makefile(".yaml", cluster="kind: Cluster")

    result = pytester.runpytest(f"--k8snet-cluster={file}", "--k8snet-cleanup")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--k8snet-cleanup needs --k8s-context=NAME" in result.stderr.str()


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (options.seconds, "4", 4.0),
        (options.seconds, "2.5s", 2.5),
        (options.prefix, "a", "a"),
        (options.prefix, "my-net", "my-net"),
        (options.one_of("auto", "netns"), "netns", "netns"),
        (options.features, "", frozenset()),
        (options.features, "Ingress, Gateway", {Feature.INGRESS, Feature.GATEWAY}),
        (options.host_and_port, "example.org:443", "example.org:443"),
        (options.host_and_port, "[2001:db8::1]:53", "2001:db8::1:53"),
        (options.address, "2001:DB8::1", "2001:db8::1"),
        (options.port_pair, "8000, 8443", (8000, 8443)),
        (options.tolerations, "all", EXISTS),
        (options.tolerations, "none", ()),
        (
            options.tolerations,
            "gpu, pool=spot:NoSchedule",
            (
                {"key": "gpu", "operator": "Exists"},
                {
                    "key": "pool",
                    "operator": "Equal",
                    "value": "spot",
                    "effect": "NoSchedule",
                },
            ),
        ),
    ],
)
def test_a_good_value_is_read(
    parse: Callable[[str], object], text: str, value: object
) -> None:
    assert parse(text) == value

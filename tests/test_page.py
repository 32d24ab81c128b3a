"""report.html, as text and in a real browser."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import pytest
from browser import PROGRAM, Browser, opened
from recordings import on_paper, real, rules_of
from test_recording import again
from test_report import FAILED, PASSED, UNKNOWN, result

from pytest_k8snet.model import Profile
from pytest_k8snet.report.heatmap import heat_maps, overview
from pytest_k8snet.report.html import html
from pytest_k8snet.report.plots import WIDTH, Scale, plots
from pytest_k8snet.report.recording import Recording, recorded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_k8snet.report.heatmap import HeatMap

real_run = cache(real)
needs_browser = pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed")
OF_PAIRS = {"POD-TO-POD", "SERVICE-CLUSTER-IP"}


def rule_maps(run: Recording, rule: str) -> list[HeatMap]:
    return heat_maps(run.by_rule[rule], run)


# ---------------------------------------------------------------------------- heat maps


def test_a_rule_is_drawn_for_each_protocol_and_family_its_paths_together() -> None:
    run = again(PASSED, FAILED, result("POD-TO-POD-udp-ipv6-same-node"))

    tcp, udp = rule_maps(run, "POD-TO-POD")

    assert (tcp.title, udp.title) == ("tcp ipv4", "udp ipv6")
    assert len(tcp.entries) == 9
    assert tcp.caption == "2 of 9 cells are wrong: to b"
    assert udp.caption.startswith("3 of 3 cells conform")


def test_what_is_wrong_comes_first() -> None:
    (one,) = rule_maps(again(PASSED, FAILED), "POD-TO-POD")

    assert one.columns[0] == "b"
    assert one.worst == "x"
    assert json.loads(one.data)["states"] == "oxxoooooo" or one.rows[0] == "b"


def test_nodes_of_one_zone_are_together() -> None:
    run = again(PASSED)
    environment = run.report.environment
    zones = {"a": "z2", "b": "z1", "c": "z2"}
    nodes = [n.model_copy(update={"zone": zones[n.name]}) for n in environment.nodes]
    zoned = environment.model_copy(update={"nodes": nodes})
    run = recorded(run.report.model_copy(update={"environment": zoned}))

    (one,) = rule_maps(run, "POD-TO-POD")

    assert one.columns == ("b", "a", "c")


def test_what_each_node_asks_of_itself_is_a_strip() -> None:
    (one, *_) = rule_maps(real_run("healthy"), "LOCALHOST-TCP")

    assert one.rows == ("every Node",)
    assert len(one.columns) == 3


def test_what_could_not_be_judged_is_drawn_as_that() -> None:
    open_question = replace(PASSED, word=UNKNOWN.word, reason="why")

    (one,) = rule_maps(again(open_question), "POD-TO-POD")

    assert one.worst == "?"
    assert set(one.paths) == {"not judged"}


def test_many_cells_that_are_alike_are_one_shape() -> None:
    run = recorded(on_paper(60, rules_of(Profile.QUICK)[:12], cut_off="node-0042"))

    tcp = rule_maps(run, "POD-TO-POD")[0]

    assert tcp.rows[0] == "node-0042"
    assert len(tcp.paths["conforms"]) < 2000
    assert len(tcp.paths["wrong"]) < 2000


def test_everything_between_nodes_is_drawn_together() -> None:
    found = overview(real_run("worker2-cut-off"))

    assert found
    assert found.rows[0] == found.columns[0] == "worker2"
    assert found.entries["control-plane", "worker"].state == "o"
    assert found.entries["control-plane", "worker2"].state == "x"


# -------------------------------------------------------------------------------- plots


def test_times_are_drawn_along_one_axis() -> None:
    found = plots(real_run("healthy"))

    assert [plot.title for plot in found] == [
        "Time to an answer",
        "Time until a change shows",
        "Phases of the run",
    ]
    for plot in found:
        for row in plot.rows:
            assert all(0 <= x <= WIDTH for x in (*row.ends, *row.box, *row.dots))
            assert list(row.box) == sorted(row.box)


def test_an_axis_goes_from_one_power_of_ten_to_another() -> None:
    scale = Scale.of([0.0004, 0.02])

    assert [said for _, said in scale.ticks] == ["0.1 ms", "1 ms", "10 ms", "100 ms"]
    assert (scale.at(0.0001), scale.at(0.1)) == (0, WIDTH)


# --------------------------------------------------------------------------------- text


@pytest.mark.parametrize("name", ["healthy", "worker2-cut-off"])
def test_the_page_is_one_file_that_asks_for_nothing(name: str) -> None:
    page = html(real_run(name))

    assert re.findall(r"url\(([^)]*)\)|@import", page) == ["#stripes"]
    assert not re.findall(r"<[^>]* src=", page)
    assert re.findall(r"<link[^>]* href=\"([^\"]*)", page) == ["data:,"]
    assert "default-src 'none'" in page


def test_the_page_says_everything_that_the_report_does() -> None:
    page = html(real_run("worker2-cut-off"))

    assert "<h1>152 failed, 18 inconclusive, 95 passed, 102 do not apply</h1>" in page
    assert "drops what it should forward" in page
    for rule in real_run("worker2-cut-off").report.rules:
        assert f'id="{rule.id}"' in page
    assert "--k8s-context=k8snet-three-node" in page


def test_what_a_cluster_says_cannot_become_a_part_of_the_page() -> None:
    odd = replace(UNKNOWN, reason="<script>alert(1)</script>")
    bad = replace(
        FAILED,
        seen=tuple(replace(o, detail="</script><b>") for o in FAILED.seen),
        verdict=replace(FAILED.verdict, violations=()),
    )
    wrong = replace(bad, verdict=replace(bad.verdict, violations=bad.seen))

    page = html(again(odd, wrong))

    assert "<script>alert" not in page
    assert "</script><b>" not in page


# ------------------------------------------------------------------------------ browser


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with opened(tmp_path / "profile") as found:
        yield found


def written(run: Recording, folder: Path) -> Path:
    file = folder / "report.html"
    file.write_text(html(run), encoding="utf-8")
    return file


@needs_browser
@pytest.mark.parametrize("name", ["healthy", "worker2-cut-off"])
def test_a_browser_has_nothing_to_complain_about(
    name: str, browser: Browser, tmp_path: Path
) -> None:
    file = written(real_run(name), tmp_path)

    browser.open(file)

    for dark in (False, True):
        assert browser.picture(1300, 1000, dark=dark).startswith(b"\x89PNG")
    assert browser.complaints == []
    assert set(browser.requests) == {file.as_uri()}


@needs_browser
def test_everything_that_is_drawn_has_a_name(browser: Browser, tmp_path: Path) -> None:
    run = real_run("worker2-cut-off")
    browser.open(written(run, tmp_path))
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")

    pictures = browser.names("image")

    assert len(pictures) > 100
    assert all(pictures)
    assert any(
        name.startswith("POD-TO-POD tcp ipv4: 4 of 9 cells are wrong: to and from")
        for name in pictures
    )
    assert all(browser.names("link"))


@needs_browser
def test_a_cell_is_told_by_keyboard_and_by_pointer(
    browser: Browser, tmp_path: Path
) -> None:
    browser.open(written(real_run("worker2-cut-off"), tmp_path))
    browser.run("document.querySelector('#POD-TO-POD').open = true")
    browser.run("document.querySelector('#POD-TO-POD svg').focus()")
    said = "document.querySelector('#POD-TO-POD output').textContent"

    assert browser.run(said).startswith("worker2 \u2192 worker2: conforms, ")
    browser.press("ArrowRight")
    assert "timed out (connect, no answer within 4 s)" in browser.run(said)
    browser.press("ArrowLeft")
    browser.press("ArrowLeft")
    assert browser.run(said).startswith("worker2 \u2192 worker2: ")

    browser.run("document.querySelector('#POD-TO-POD svg').scrollIntoView()")
    corner = "document.querySelector('#POD-TO-POD path').getBoundingClientRect()"
    x, y = (browser.run(f"{corner}.{side}") for side in ("right", "bottom"))
    browser.point(x - 5, y - 5)
    assert browser.run(said).startswith("worker \u2192 worker: conforms, ")


@needs_browser
def test_rules_are_found_and_filtered(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(real_run("worker2-cut-off"), tmp_path))
    shown = "[...document.querySelectorAll('.rule')].filter(r => !r.hidden).length"
    everything = browser.run(shown)

    browser.run("document.querySelector('#filter [type=checkbox]').click()")
    not_passed = browser.run(shown)
    browser.run(
        "{ const f = document.querySelector('[type=search]'); f.value = 'hairpin';"
        " f.dispatchEvent(new Event('input', {bubbles: true})) }"
    )

    assert everything == len(real_run("healthy").report.rules)
    assert 0 < not_passed < everything
    assert browser.run(shown) <= 1


@needs_browser
def test_a_hundred_nodes_are_shown(browser: Browser, tmp_path: Path) -> None:
    rules = [r for r in rules_of(Profile.DEFAULT) if r.id in OF_PAIRS]
    run = recorded(on_paper(100, rules, cut_off="node-0042"))

    browser.open(written(run, tmp_path))

    assert browser.run("document.querySelectorAll('.rule').length") == len(OF_PAIRS)
    assert browser.complaints == []

"""The benchmark suite's own parts: what is asked for, what is computed, what is written.  No measurements."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks import deliver, flame, profile, report
from benchmarks.command import parse
from benchmarks.mainjob import Peer, findings
from benchmarks.payloads import order, real
from benchmarks.plots import acquire
from benchmarks.results import Column, Finding, Part, Results, Row, Spread, cells, ratio
from benchmarks.suite import AXES
from benchmarks.tables import plain

RATE = Column(key="rate", title="deliveries", unit="1/s", chart="bars")
COST = Column(key="cost", title="CPU", unit="µs", digits=1)


@pytest.fixture
def bars() -> Part:
    """A part with a chart of bars, a row without figures and a promise that is not kept."""
    return Part(
        name="tls",
        title="TLS",
        about="Connections are kept.",
        columns=(RATE, COST),
        rows=(
            Row(label="http", cells={"rate": Spread(9859, 9101, 10220), "cost": Spread(100, 100, 100)}),
            Row(label="https", cells={"rate": Spread(7000, 6900, 7100), "cost": Spread(140, 139, 141)}),
            Row(label="elsewhere", note="not measured: no server"),
        ),
        findings=(Finding(what="https costs, compared with http", value=Spread(1.4, 1.38, 1.42), at_most=1.3),),
        across="endpoint",
    )


@pytest.fixture
def lines() -> Part:
    """A part with a chart of lines."""
    return Part(
        name="bloat",
        title="Tables after many deliveries",
        about="Again and again.",
        columns=(Column(key="mb", title="queue", unit="MB", digits=1, chart="lines"),),
        rows=tuple(Row(label=f"{n}", at=n, cells={"mb": Spread.of([n / 1000])}) for n in (3000, 6000)),
        across="deliveries so far",
    )


@pytest.fixture
def results(bars: Part, lines: Part) -> Results:
    """Results of a whole run."""
    return Results(machine={"processor": "Some CPU, 2 cores", "date": "2026-01-01"}, command="x", parts=(bars, lines))


class TestCommandLine:
    """What a command line asks for."""

    def test_without_arguments_the_main_job_runs_beside_all_peers(self) -> None:
        """No argument means both stores, five runs, every peer and no axis."""
        plan = parse([])

        assert ("postgres", "redis", "sqlite") == plan.stores
        assert 5 == plan.runs
        assert () == plan.axes
        assert {"celery", "prototype"} <= set(plan.peers)

    def test_an_axis_comes_without_peers_and_on_the_chosen_store(self) -> None:
        """A run of an axis has no peers, and uses the store that was named."""
        plan = parse(["--axis", "tls,latency", "--store", "sqlite", "--events", "1_000"])

        assert ("latency", "tls") == plan.axes
        assert () == plan.peers
        assert ("sqlite",) == plan.stores
        assert "sqlite" == plan.store
        assert 1000 == plan.events

    def test_groups_stand_for_their_members(self) -> None:
        """``all`` is every axis, and ``growth`` everything that grows."""
        assert tuple(AXES) == parse(["--axis", "all"]).axes
        assert {"growth", "history", "fanout", "bloat"} == set(parse(["--axis", "growth"]).axes)

    def test_what_is_given_wins_over_quick(self) -> None:
        """``--quick`` only sets what the command line does not."""
        plan = parse(["--quick", "--runs", "2"])

        assert 2 == plan.runs
        assert plan.events < parse(["--peers", "none"]).events

    @pytest.mark.parametrize("argument", [["--axis", "speed"], ["--peers", "nobody"], ["--runs", "0"]])
    def test_nonsense_is_refused(self, argument: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        """An unknown name or a senseless number ends with usage, not with a traceback."""
        with pytest.raises(SystemExit) as ended:
            parse(argument)

        assert 2 == ended.value.code
        assert argument[0] in capsys.readouterr().err or argument[1]

    def test_a_single_run_keeps_its_command_line(self) -> None:
        """``benchmarks.deliver`` has the options that the README and the documentation name."""
        args = deliver.arguments(["--store", "sqlite", "--rate", "200", "--runs", "3", "--json"])

        assert ("sqlite", 200.0, 3, True) == (args.store, args.rate, args.runs, args.json)


class TestFigures:
    """How runs become figures."""

    def test_ratios_are_taken_round_by_round(self) -> None:
        """A slow round leaves the ratio as it is."""
        above = [{"us": 130.0}, {"us": 260.0}, {"us": 13.0}]
        below = [{"us": 100.0}, {"us": 200.0}, {"us": 10.0}]

        assert Spread(1.3, 1.3, 1.3) == ratio(above, below, "us")

    def test_we_are_compared_with_the_best_that_promises_the_same_and_the_best_that_promises_less(self) -> None:
        """A peer that may lose a second is not compared in place of one that may not, nor the other way round."""
        ours: list[Mapping[str, Any]] = [{"rate": 12_000.0}]
        found = [
            Peer("celery", ours, [{"rate": 600.0, "durable": False}]),
            Peer("celery-always", ours, [{"rate": 400.0, "durable": True}]),
            Peer("saq", ours, [{"rate": 2400.0, "durable": False}]),
            Peer("saq-always", ours, [{"rate": 1200.0, "durable": True}]),
            Peer("pgqueuer-batch", ours, [{"rate": 4000.0, "durable": True}]),
            Peer("prototype", trouble="not here"),
        ]

        made = {finding.what.partition("compared with ")[2]: finding for finding in findings(found)}

        assert {
            "Celery (celery-always, same durability)": True,
            "Celery (celery, weaker durability)": False,
            "the best peer with a task for each webhook (saq-always, same durability)": True,
            "the best peer with a task for each webhook (saq, weaker durability)": False,
            "PgQueuer with batch enqueue (pgqueuer-batch, same durability)": True,
        } == {what: finding.is_kept for what, finding in made.items()}

    def test_unknown_figures_leave_no_cell(self) -> None:
        """A cost that cannot be read makes a gap, not a zero."""
        runs: list[dict[str, float | None]] = [{"rate": 10.0, "cost": float("nan")}, {"rate": 30.0, "cost": None}]

        assert {"rate": Spread(20, 10, 30)} == cells(runs, (RATE, COST))

    def test_a_part_measured_again_takes_its_old_place(self, results: Results, lines: Part) -> None:
        """Adding to results replaces what was measured again and keeps the rest."""
        again = Part(name="tls", title="TLS, again", about="", columns=(), rows=())

        assert [again, lines] == list(results.with_part(again).parts)

    def test_written_results_are_read_back(self, results: Results, tmp_path: Path) -> None:
        """JSON keeps every figure."""
        results.write(tmp_path / "results.json")

        again = Results.read(tmp_path / "results.json")

        assert [part.title for part in results.parts] == [part.title for part in again.parts]
        assert list(results.parts[0].rows) == list(again.parts[0].rows)

    def test_results_of_another_format_are_refused(self, tmp_path: Path) -> None:
        """An old file is named, not misread."""
        path = tmp_path / "results.json"
        path.write_text('{"format": 0}')

        with pytest.raises(ValueError, match="measure again"):
            Results.read(path)

    def test_a_table_says_what_was_not_kept_and_not_measured(self, bars: Part) -> None:
        """Broken promises and missing figures are in the table."""
        text = plain(bars)

        assert "9,859 (9,101–10,220)" in text
        assert "not measured: no server" in text
        assert "1.40 (1.38–1.42); wanted at most 1.3: NOT KEPT" in text


class TestReport:
    """The page of the documentation."""

    def test_results_become_a_page_with_its_figures(self, results: Results, tmp_path: Path) -> None:
        """Every part has a section, a table and a chart that is there."""
        results.write(tmp_path / "results.json")

        code = report.main(["--results", str(tmp_path / "results.json"), "--docs", str(tmp_path)])

        page = (tmp_path / "performance.md").read_text("utf-8")
        assert 0 == code
        assert page.startswith("% Generated by `python -m benchmarks.report`")
        assert "### TLS" in page
        assert "| http | 9,859 (9,101–10,220) | 100.0 |" in page
        assert "Some CPU, 2 cores" in page
        named = re.findall(r"!\[.*?\]\((.*?)\)", page)
        assert ["performance/tls.svg", "performance/bloat.svg"] == named
        assert all((tmp_path / name).is_file() for name in named)

    def test_the_page_can_be_made_again_from_what_it_keeps(self, results: Results, tmp_path: Path) -> None:
        """The results are kept beside the figures: a change of the text needs no measurement."""
        page = report.build(results, tmp_path)
        first = page.read_text("utf-8")

        report.build(Results.read(tmp_path / "performance" / "results.json"), tmp_path)

        assert first == page.read_text("utf-8")

    def test_without_results_it_says_how_to_get_some(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A missing file ends with advice."""
        code = report.main(["--results", str(tmp_path / "none.json"), "--docs", str(tmp_path)])

        assert 1 == code
        assert "dev.py bench" in capsys.readouterr().err

    @pytest.mark.parametrize("kind", ["bars", "lines"])
    def test_charts_are_written_with_their_figures(
        self, kind: str, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        """A chart exists as PNG and as SVG, carries its values and units, and is the same when drawn again."""
        part: Part = request.getfixturevalue(kind)

        png, svg = acquire(part, tmp_path / "one", formats=("png", "svg"))
        (again,) = acquire(part, tmp_path / "two", formats=("svg",))

        text = "".join(ET.parse(svg).getroot().itertext())
        assert png.read_bytes().startswith(b"\x89PNG")
        assert all(word in text for word in {"bars": ("9,859", "[1/s]"), "lines": ("6.0", "MB")}[kind])
        assert svg.read_bytes() == again.read_bytes()

    def test_a_part_without_charts_draws_nothing(self, tmp_path: Path) -> None:
        """No empty figures."""
        part = Part(name="x", title="X", about="", columns=(COST,), rows=())

        assert [] == acquire(part, tmp_path, formats=("svg",))


class TestProfile:
    """Which group a sample belongs to."""

    RAW = (
        "<module> (/e/benchmarks/roles.py:1);run (/s/uvloop/__init__.py:9);"
        "turn (/r/src/notifykit/dispatch/sending/sender.py:5);send (/r/src/notifykit/channels/webhook/channel.py:7);"
        "sign (/r/src/notifykit/signing/keys.py:3);digest (/p/lib/python3.11/hmac.py:2) 6\n"
        "<module> (/e/benchmarks/roles.py:1);run (/s/uvloop/__init__.py:9);"
        "_find_and_load (<frozen importlib._bootstrap>:1) 50\n"
        "<module> (/e/benchmarks/roles.py:1);run (/s/uvloop/__init__.py:9) 2\n"
        "<module> (/e/benchmarks/roles.py:1) 40\n"
    )

    def test_samples_belong_to_the_innermost_group_and_startup_to_none(self) -> None:
        """What a group calls is its own; imports and startup are no part of a delivery."""
        found = profile.Profile("worker", 40.0, profile.read(self.RAW))

        assert {"signing": 30.0, "event loop": 10.0} == found.groups()

    def test_a_flame_graph_is_a_picture_with_every_wide_frame(self, tmp_path: Path) -> None:
        """The SVG is well formed, escapes names and shows each frame's share."""
        file = tmp_path / "flame.svg"

        flame.write({("<root>", "a"): 3, ("<root>", "b"): 1}, file, title="T", short=str.upper, colour=lambda _: "#fff")

        titles = [element.text for element in ET.parse(file).iter("{http://www.w3.org/2000/svg}title")]
        assert ["<root>: 100.0 %, 4 samples", "a: 75.0 %, 3 samples", "b: 25.0 %, 1 samples"] == titles


@pytest.mark.parametrize("size", [1000, 8000])
def test_payloads_have_the_size_that_was_asked_for(size: int) -> None:
    """Made and real payloads are near their size: a result for 8 kB is one for 8 kB."""
    at = random.Random(size).randrange(1000)

    made = [order(size, at), *real(size)]

    sizes = [len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()) for data in made]
    assert all(0.75 * size <= found <= 1.7 * size for found in sizes), sizes

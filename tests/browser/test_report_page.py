"""The report in a real browser, from the disk: nothing complains, nothing is asked for, every plot is drawn."""

from __future__ import annotations

import pytest
from tests.evaluate.conftest import evaluation, home  # noqa: F401  # fixtures

from ropewalk.evaluate import ReportOptions, run_report

pytestmark = pytest.mark.browser
WIDTHS = (1400, 390)  # a desk's screen, a telephone's


@pytest.mark.parametrize("width", WIDTHS)
def test_every_plot_is_drawn_and_nothing_complains(home, evaluation, browser, width, tmp_path):  # noqa: F811
    address = (run_report(ReportOptions(evaluation), out=tmp_path / "report").path / "index.html").as_uri()
    complaints: list[str] = []
    with browser.new_context(viewport={"width": width, "height": 900}) as context:
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.on("request", lambda request: request.url == address or complaints.append(f"asked {request.url}"))
        page.goto(address)
        plots = page.locator("figure svg")
        assert plots.count() == 7
        for place in range(plots.count()):
            plots.nth(place).scroll_into_view_if_needed()
            box = plots.nth(place).bounding_box()
            assert box is not None and box["width"] > 200 and box["height"] > 100
            assert plots.nth(place).locator("path[d]").count() > 5  # axes, ticks, and a line at least
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []

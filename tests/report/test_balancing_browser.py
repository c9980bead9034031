"""The matrix of conflicts in a browser."""

import re

from tests.report.browser import browsing, find, load, luminance, needed
from tests.report.test_balancing import write_page

pytestmark = needed


def test_cells_can_be_read_in_both_themes_and_on_a_telephone(tmp_path):
    page = write_page(tmp_path)
    with browsing(tmp_path) as browser:
        for theme in ("light", "dark"):
            features = [{"name": "prefers-color-scheme", "value": theme}]
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})
            load(browser, page, 390)
            paper = colour(find(browser, "body"), "background-color")
            for side, place in (("conflict", 0), ("agree", 2)):
                cell = find(browser, f".whole .{side}[style*='1.00']")
                *tint, opacity = colour(cell, "background-color")
                assert tint[place] == max(tint)  # red or blue
                under = [opacity * over + (1 - opacity) * below for over, below in zip(tint, paper, strict=False)]
                low, high = sorted((luminance(str([round(part) for part in under])), luminance(css(cell, "color"))))
                assert (high + 0.05) / (low + 0.05) > 4.5  # as WCAG asks for small text
        content, room = browser.execute_script(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert content == room
        assert browser.get_log("browser") == []


def css(node, name):
    return node.value_of_css_property(name)


def colour(node, name):
    return [float(part) for part in re.findall(r"[\d.]+", css(node, name))]

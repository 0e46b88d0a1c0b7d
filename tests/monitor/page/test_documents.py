"""docs/ui.md has a picture of every view, and they are small."""

import re

from tests.monitor.page.browsers import ROOT
from tests.monitor.page.screens import FOLDER, MOST_BYTES, SCREENS

TEXT = (ROOT / "docs/ui.md").read_text()


def test_every_view_has_a_picture_and_every_picture_is_there():
    shown = re.findall(r"\]\(ui/(.+?)\.webp\)", TEXT)
    assert sorted(shown) == sorted(name for name, _, _ in SCREENS)
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(shown)
    menu = re.findall(r'name: "(\w+)"', (ROOT / "web/src/views.ts").read_text())
    assert len(menu) > 10
    assert {view.partition("?")[0] for _, view, _ in SCREENS} == set(menu)


def test_the_pictures_are_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < MOST_BYTES


def test_the_views_that_can_be_downloaded_are_those_that_there_are():
    from scaler.monitor.page.views import VIEWS

    for view in re.findall(r"/download/([a-z]+)\.", TEXT):
        assert view in VIEWS

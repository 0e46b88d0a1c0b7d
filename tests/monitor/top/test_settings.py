"""What is kept from one run to the next."""

import pytest

from scaler.monitor.top.settings import Settings, load, path, save


def test_what_was_chosen_is_there_again(tmp_path):
    settings = Settings(view="functions", interval_s=5.0, hide_idle=True, mouse=False)
    settings.choices["workers"].sort, settings.choices["workers"].is_reversed = "cpu", True
    settings.choices["tasks"].is_reversed = True
    file = tmp_path / "scaler" / "top.json"
    save(settings, file)
    assert load(file) == settings
    assert [each.name for each in file.parent.iterdir()] == ["top.json"]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "null", "[" * 100_000, '{"view": 7, "interval_s": "x", "sort": [1]}', '{"view": "gone"}',
     '{"sort": {"workers": {"column": "gone", "reversed": "yes"}}, "interval_s": 0.001, "hide_idle": 1}', "\0\xff"],
)  # fmt: skip
def test_a_file_that_says_nothing_sensible_is_as_none(tmp_path, text):
    (tmp_path / "top.json").write_text(text)
    assert load(tmp_path / "top.json") == Settings()


def test_no_file_and_no_folder_are_no_trouble(tmp_path):
    assert load(tmp_path / "none" / "top.json") == Settings()
    (tmp_path / "file").write_text("")
    save(Settings(), tmp_path / "file" / "top.json")


def test_the_file_is_where_xdg_has_it(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert path() == tmp_path / "scaler" / "top.json"
    monkeypatch.setenv("XDG_CONFIG_HOME", "not/absolute")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert path() == tmp_path / ".config" / "scaler" / "top.json"

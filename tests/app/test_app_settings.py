"""Settings: file over defaults, environment over file, and a misspelt one is refused."""

from pathlib import Path

import pytest

from kangshu.app.errors import SettingsError
from kangshu.app.settings import Settings, load_settings


def test_without_a_file_the_defaults_hold(tmp_path: Path):
    assert load_settings(tmp_path, environment={}) == Settings()


def test_the_environment_goes_over_the_file(tmp_path: Path):
    (tmp_path / "settings.toml").write_text('language = "en"\nthreads = 4\n', encoding="utf-8")

    settings = load_settings(tmp_path, environment={"KANGSHU_THREADS": "8", "KANGSHU_SECURE_COOKIES": "true"})

    assert (settings.language, settings.threads, settings.secure_cookies) == ("en", 8, True)


@pytest.mark.parametrize(
    "content", ["langauge = 'zh'", "threads = 'many'", "threads = ", "secure_cookies = 1"]
)
def test_a_wrong_setting_is_refused(tmp_path: Path, content: str):
    (tmp_path / "settings.toml").write_text(content, encoding="utf-8")

    with pytest.raises(SettingsError):
        load_settings(tmp_path, environment={})

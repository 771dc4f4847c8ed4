"""People read the time of their house, also at the change of summer time; programs read UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from bilingual import local, localtime, moment
from mssgw.core.config import parse
from mssgw.core.errors import ConfigError
from mssgw.core.texts import text
from tests.configurations import alpha


@pytest.fixture(autouse=True)
def _zone_of_the_process():
    """Each test begins in the default zone, and leaves the process as it was."""
    before = localtime._Process.zone
    localtime.use(localtime.DEFAULT)
    yield
    localtime._Process.zone = before


@pytest.mark.parametrize(
    ("at", "french"),
    [
        (datetime(2026, 3, 29, 0, 59, tzinfo=UTC), "29/03/2026 01:59 (UTC+1)"),
        (datetime(2026, 3, 29, 1, 0, tzinfo=UTC), "29/03/2026 03:00 (UTC+2)"),  # 02:00 to 03:00 is not there
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "25/10/2026 02:30 (UTC+2)"),
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "25/10/2026 02:30 (UTC+1)"),  # the same hour again
        (datetime(2026, 12, 31, 23, 30, tzinfo=UTC), "01/01/2027 00:30 (UTC+1)"),
        (datetime(2026, 7, 1, 14, 0, tzinfo=timezone(timedelta(hours=9))), "01/07/2026 07:00 (UTC+2)"),
    ],
)
def test_the_time_of_paris(at, french):
    assert moment(at) == french


@pytest.mark.parametrize(
    ("zone", "english"),
    [
        ("Indian/Reunion", "2026-07-01 16:00 (UTC+4)"),
        ("America/Martinique", "2026-07-01 08:00 (UTC-4)"),
        ("Asia/Kolkata", "2026-07-01 17:30 (UTC+5:30)"),
        ("America/St_Johns", "2026-07-01 09:30 (UTC-2:30)"),
        ("UTC", "2026-07-01 12:00 (UTC)"),
    ],
)
def test_another_zone_is_a_setting(zone, english):
    localtime.use(zone)
    assert moment(datetime(2026, 7, 1, 12, tzinfo=UTC), "en") == english


def test_a_moment_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="without a zone"):
        local(datetime(2026, 7, 1))


def test_a_sentence_shows_a_moment_in_the_time_of_the_house():
    said = text("dsn.delayed.intro", "fr", date=datetime(2026, 10, 25, 1, 30, tzinfo=UTC), until=datetime(2026, 10, 30, 12, tzinfo=UTC))
    assert "25/10/2026 02:30 (UTC+1)" in said
    assert "30/10/2026 13:00 (UTC+1)" in said


def test_the_zone_of_a_configuration(tmp_path):
    assert parse(alpha(), tmp_path).node.timezone == "Europe/Paris"
    assert parse(alpha(node='timezone = "Indian/Reunion"'), tmp_path).node.timezone == "Indian/Reunion"
    for wrong in ("Paris", "../../etc/passwd", "", "Europe/Nowhere"):
        with pytest.raises(ConfigError, match=r"node\.timezone: .* is no time zone; expected a name such as Europe/Paris"):
            parse(alpha(node=f'timezone = "{wrong}"'), tmp_path)


def test_a_machine_without_time_zones_takes_those_that_come_along():
    import zoneinfo

    zoneinfo.ZoneInfo.clear_cache()
    zoneinfo.reset_tzpath(to=())
    try:
        assert localtime.zone_named("Europe/Paris").utcoffset(datetime(2026, 7, 1)) == timedelta(hours=2)
    finally:
        zoneinfo.reset_tzpath()
        zoneinfo.ZoneInfo.clear_cache()

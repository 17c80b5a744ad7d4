"""What a person's settings and mutes say about an event on a channel.

Pure; the order of precedence is in :attr:`notifykit.models.preferences.Setting.precedence`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import attrs

from ..models.preferences import ON, Mute, Purpose, Setting
from .patterns import TOPICS, compile_pattern


class Notice(NamedTuple):
    """What a person is to be told: the parts of an event and its type that wishes can name.

    Attributes:
        type: The event's type, such as ``comment.created``.
        category: What preferences call a group of types.
        purpose: Why it is sent.
        topic: The event's topic, if it has one.
        expires_at: When it is of no use any more.
    """

    type: str
    category: str
    purpose: Purpose
    topic: str | None = None
    expires_at: datetime | None = None


def setting_that_counts(settings: Iterable[Setting], notice: Notice, channel: str) -> Setting | None:
    """Return the setting that decides about ``notice`` on ``channel``; ``None`` if none is about it.

    Marketing cannot be locked on: such a lock is treated as a setting that is not locked.
    """
    found: Setting | None = None
    for setting in settings:
        select = setting.select
        if (
            (select.type is None or select.type == notice.type)
            and (select.category is None or select.category == notice.category)
            and (select.channel is None or select.channel == channel)
        ):
            if setting.locked and setting.value == ON and notice.purpose == Purpose.MARKETING:
                setting = attrs.evolve(setting, locked=False)  # noqa: PLW2901
            if found is None or setting.precedence >= found.precedence:
                found = setting
    return found


def is_muted(mutes: Iterable[Mute], notice: Notice, channel: str, now: datetime) -> bool:
    """Tell whether a mute denies ``notice`` on ``channel`` at ``now``."""
    for mute in mutes:
        select = mute.select
        if (
            (mute.until is None or mute.until > now)
            and (select.type is None or select.type == notice.type)
            and (select.category is None or select.category == notice.category)
            and (select.channel is None or select.channel == channel)
            and (select.purpose is None or select.purpose == notice.purpose)
            and (select.topic is None or compile_pattern(select.topic, TOPICS)(notice.topic or ""))
        ):
            return True
    return False

"""A client that takes nothing of what its server sends."""

from __future__ import annotations

from bgpy.calling.blocking.channel import Channel


def stop_reading(channel: Channel) -> None:
    """Let nobody read: whoever would takes it that the standby was asked to."""
    channel._turns.note_asked()


def read_again(channel: Channel) -> None:
    """Have the standby read what has come."""
    with channel._lock:
        channel._turns.asked = False
        channel.reader.ask_standby()

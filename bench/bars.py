# SPDX-License-Identifier: MIT
"""A row of the table, and the bars that torc must reach in it."""
from dataclasses import dataclass, field


@dataclass
class Bar:
    """What a contender must reach: an absolute limit, or a ratio to another's best (above 1: it is better)."""
    limit: float
    against: tuple = ()  # names; of several, the best one counts
    figure: str = ''  # another figure than the row's own, for a limit
    text: str = ''
    who: str = ''  # who must reach it, if not the first contender


@dataclass
class Row:
    title: str
    match: dict  # what a record must say to belong here
    figure: str
    bars: list = field(default_factory=list)


def at_most(limit, unit='ns', who=''):
    return Bar(limit, text=f'<= {limit:,} {unit}', who=who)


def least(ratio, *against, text='', who=''):
    return Bar(ratio, against, text=text or f'>= {ratio} x {against[0]}', who=who)

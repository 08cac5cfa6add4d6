#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares torc with floors and rivals: short interleaved rounds, one CPU, each one's best.

    bench/compare.py                            everything that `make bench` shows
    bench/compare.py --only yield,nop           some of it, by the names below
    bench/compare.py --only echo.100,growth     works over the network have several shapes, each with a name
    bench/compare.py --plot echo.svg            CPU per message over connections, drawn from the rows of `growth`
    bench/compare.py 'a=CMD ...' 'b=CMD ...'    any commands that print one JSON object a line, or fio's JSON;
                                                the first is what the others are compared with
    bench/compare.py --load '--connections 9' 'a=CMD {port}' 'b=CMD {port}'
                                                any servers on 127.0.0.1, asked by the load generator (its options are
                                                in bench/net/load.c); with --backend also proxies: 'CMD {port} {backend}'

TORC_BENCH_DEV names the device or file for `read`, `read1` and `shards` (else /dev/zram0 when it is free and we are
root, else a scratch file in the build folder), TORC_BENCH_DISK the one for `disk` (else the scratch file). They are
only read.
What cannot run is left out by name. Exit code: 0; 1 with --strict when a bar is missed or could not be measured;
2 when there is nothing to measure.
"""
import argparse
import contextlib
import json
import os
import platform
import shlex
import signal
import statistics
import sys

sys.dont_write_bytecode = True  # no caches beside the sources

import plan
import plan_net
import plot
from bars import Row
from serve import Served, Server
from rounds import FIGURES, Contender, Group, LeftOut, progress, run_group

IDENTITY = ('bench', 'tasks', 'in_flight', 'depth', 'ms', 'mode')


class View:
    """One row's figures: each contender's best and median, and how the bars stand."""

    def __init__(self, row, group, samples):
        self.row, self.group = row, group
        self.more_is_better = FIGURES[row.figure][1]
        self.samples = [(name, r) for name, _, r in samples if all(r.get(k) == v for k, v in row.match.items())]
        self.values = {}
        for contender in group.contenders:
            values = self._values(contender.name, row.figure)
            if values:
                self.values[contender.name] = values
        self.first = group.contenders[0].name

    def _values(self, name, figure):
        return [r[figure] for n, r in self.samples if n == name and figure in r]

    def best(self, name):
        return (max if self.more_is_better else min)(self.values[name])

    def median(self, name):
        return statistics.median(self.values[name])

    def ratio(self, name, who=''):
        """How many times as good WHO's best is, or the first contender's; None where that has no meaning."""
        who = who or self.first
        if who not in self.values or name not in self.values:
            return None
        mine, other = self.best(who), self.best(name)
        if min(mine, other) <= 0:
            return None
        return mine / other if self.more_is_better else other / mine

    def verdicts(self):
        """[(the contender in whose line it stands, the bar's text, True | False | None: not measured)]"""
        out = []
        for bar in self.row.bars:
            known = [name for name in bar.against if name in self.values]
            who = bar.who or self.first
            reached, place = None, who
            if bar.figure:  # a lower limit of another figure: its worst round counts
                values = self._values(who, bar.figure)
                reached = min(values) >= bar.limit if values else None
            elif not bar.against:
                reached = self.best(who) <= bar.limit if who in self.values else None
            elif known:
                strongest = (max if self.more_is_better else min)(known, key=self.best)
                place = who if bar.who or len(bar.against) > 1 else strongest
                if who in self.values:
                    # No ratio: a figure of zero or below. For lateness that is as good as any.
                    ratio = self.ratio(strongest, who)
                    reached = ratio >= bar.limit if ratio is not None else self.best(who) <= self.best(strongest)
            elif len(bar.against) == 1 and not bar.who:
                place = bar.against[0]
            out.append((place, bar.text, reached))
        return out


def figure_text(value, figure):
    unit = FIGURES[figure][0]
    if unit == '/s':
        return f'{value / 1e6:.2f} M/s' if value >= 1e6 else f'{value / 1e3:.1f} k/s'
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    return f'{value:,.{digits}f} {unit}'


def table_lines(views):
    """[(work, contender, best, median, ratio, bars)], text only; a work's name stands in its first line."""
    for view in views:
        verdicts, title = view.verdicts(), view.row.title
        for contender in view.group.contenders:
            name = contender.name
            here = [(text, ok) for place, text, ok in verdicts if place == name]
            if name not in view.values and not here:
                continue
            bars = '; '.join(f'{text} {"not measured" if ok is None else "yes" if ok else "NO"}' for text, ok in here)
            if name in view.values:
                ratio = view.ratio(name) if name != view.first else None
                times = f'{ratio:.{0 if ratio >= 100 else 2}f} x' if ratio else ''
                best, median = (figure_text(v, view.row.figure) for v in (view.best(name), view.median(name)))
                yield (title, name, best, median, times, bars)
            else:
                yield (title, name, '-', '-', '', bars)
            title = ''


def print_table(views, first):
    lines = list(table_lines(views))
    widths = [max(map(len, column)) for column in zip(('', '', 'best', 'median', f'{first} is', ''), *lines)]

    def show(who, *rest):
        figures = '  '.join(cell.rjust(w) for cell, w in zip(rest[:3], widths[2:]))
        print(f'  {who.ljust(widths[1])}  {figures}  {rest[3]}'.rstrip())

    show('', 'best', 'median', f'{first} is', 'bar')
    for title, *cells in lines:
        if title:
            print(title)
        show(*cells)


def command_text(group, contender, cpu):
    if group.once:
        return group.once.text(contender, cpu)
    return (f'taskset -c {cpu} ' if group.pinned else '') + shlex.join(contender.argv)


def machine_text(cpu):
    model = platform.machine()
    with contextlib.suppress(OSError), open('/proc/cpuinfo') as f:
        model = next((line.split(':', 1)[1].strip() for line in f if line.startswith('model name')), model)
    return f'Linux {platform.release()}, {model}, {os.cpu_count()} CPUs, pinned to CPU {cpu}'


def markdown_text(views, groups, missing, cpu, first):
    out = [machine_text(cpu) + '. Best and median of interleaved rounds; '
           f'the ratio is how many times as good {first}\'s best is.', '',
           f'| work | who | best | median | {first} is | bar |', '|---|---|---|---|---|---|']
    out += ['| ' + ' | '.join(line) + ' |' for line in table_lines(views)]
    out += ['', 'Commands:', '', '```sh']
    for group, rounds in groups:
        out.append(f'# {group.name}: {rounds} rounds')
        out += [command_text(group, c, cpu) for c in group.contenders if not c.missing]
    out.append('```')
    if missing:
        out += ['', 'Left out:', '', *(f'- {line}' for line in missing)]
    return '\n'.join(out) + '\n'


def rows_found(samples):
    """For commands of the user's own: a row for each figure of each kind of record."""
    kinds = []
    for _, _, record in samples:
        kind = {k: record[k] for k in IDENTITY if k in record}
        if kind not in kinds:
            kinds.append(kind)
    rows = []
    for kind in kinds:
        title = ' '.join([str(kind.get('bench', '?')), *(f'{k}={v}' for k, v in kind.items() if k != 'bench')])
        present = [f for f in FIGURES if any(f in r for _, _, r in samples if kind.items() <= r.items())]
        rows += [Row(f'{title}: {figure}', kind, figure) for figure in present]
    return rows


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('commands', nargs='*', metavar='name=command')
    p.add_argument('--build', default='build', help='folder with torc, torc-micro and peers/ (%(default)s)')
    p.add_argument('--only', type=lambda text: text.split(','),
                   help=f'groups of the built-in plan, separated by commas: {", ".join(plan.GROUPS)}; '
                        f'and the shapes of some: {", ".join(n for n in plan_net.NAMES if "." in n)}')
    p.add_argument('--rounds', type=int, help='instead of each group\'s own number')
    p.add_argument('--quick', action='store_true', help='two rounds of everything: a look, not a measurement')
    p.add_argument('--cpu', type=int, help='the CPU to measure on (the last one allowed)')
    p.add_argument('--io-seconds', type=float, default=0, help='with name=command: watch CPU in runs of this length')
    p.add_argument('--json', metavar='FILE', help='write every sample')
    p.add_argument('--markdown', metavar='FILE', help='write the table with the commands')
    p.add_argument('--plot', metavar='FILE', help='draw the rows of `growth` as SVG; alone it measures nothing else')
    p.add_argument('--load', metavar='OPTIONS', help='with name=command: the commands are servers, and this is the load')
    p.add_argument('--backend', metavar='COMMAND', help='with --load: the server behind proxies')
    p.add_argument('--strict', action='store_true')
    a = p.parse_args()
    a.rounds = a.rounds or (2 if a.quick else None)
    if a.rounds is not None and a.rounds < 1:
        p.error('--rounds must be at least 1')
    a.only = a.only or (['growth'] if a.plot else plan.GROUPS)
    for name in set(a.only) - {*plan.GROUPS, *plan_net.NAMES}:
        p.error(f'no group is called {name!r}')
    if a.plot and (a.commands or 'growth' not in a.only):
        p.error('--plot draws the rows of `growth`, which are not measured')
    if bool(a.load) < bool(a.backend) or bool(a.commands) < bool(a.load):
        p.error('--load is for name=command, --backend for --load')
    for command in a.commands:
        if '=' not in command.split(' ')[0]:
            p.error(f'{command!r} is not name=command')
    return a


def commands_group(a):
    """What the user named."""
    lines = [c.split('=', 1) for c in a.commands]
    if not a.load:
        return Group('commands', [Contender(n, shlex.split(line)) for n, line in lines], 9, io_seconds=a.io_seconds)
    load = plan_net.Servers(a.build).load('--to', plan_net.TCP, '--pid', '{pid}', *shlex.split(a.load))
    once = Served(load, {'bench': 'load'}, shlex.split(a.backend) if a.backend else None)
    return Group('commands', [Server(n, shlex.split(line)) for n, line in lines], 9, once=once)


def place(wanted):
    """Takes this program off the measured CPU where it can; returns that CPU, and all that are allowed."""
    allowed = sorted(os.sched_getaffinity(0))
    cpu = allowed[-1] if wanted is None else wanted
    if cpu not in allowed:
        sys.exit(f'compare.py: CPU {cpu} is not among the allowed ones: {", ".join(map(str, allowed))}')
    others = set(allowed) - {cpu}
    if others:
        os.sched_setaffinity(0, others)
    return cpu, set(allowed)


def main():
    a = arguments()
    cpu, cpus = place(a.cpu)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    views, ran, missing, everything = [], [], [], []
    with contextlib.ExitStack() as stack:
        if a.commands:
            todo = [commands_group(a)]
        else:
            todo = plan.groups(a.build, lambda name: name in a.only or name.split('.')[0] in a.only, stack, progress, cpus)
        try:
            for group in todo:
                if isinstance(group, LeftOut):
                    missing.append(group)
                    continue
                rounds = a.rounds or group.rounds
                samples, left_out = run_group(group, rounds, cpu, cpus, progress)
                ran.append((group, rounds))
                missing += left_out
                views += [View(row, group, samples) for row in group.rows or rows_found(samples)]
                everything += [{'group': group.name, 'who': n, 'round': r, **record} for n, r, record in samples]
        except KeyboardInterrupt:
            missing.append(LeftOut('all', 'the rest', 'stopped before the end'))
        progress('')
    if not ran:
        print('compare.py: nothing was measured', file=sys.stderr)
        sys.exit(2)
    first = ran[0][0].contenders[0].name
    print(machine_text(cpu))
    print_table(views, first)
    if missing:
        print('left out:', *merged(missing), sep='\n  ')
    if a.json:
        with open(a.json, 'w') as f:
            json.dump({'machine': machine_text(cpu), 'samples': everything}, f, indent=1)
    if a.markdown:
        with open(a.markdown, 'w') as f:
            f.write(markdown_text(views, ran, merged(missing), cpu, first))
    if a.plot:
        missing_plot = plot.write(a.plot, views, machine_text(cpu))
        if missing_plot:
            print(f'compare.py: {missing_plot}', file=sys.stderr)
    if not everything:
        sys.exit(2)
    if a.strict and not all(ok for view in views for _, _, ok in view.verdicts()):
        sys.exit(1)


def merged(missing):
    """The same reason for several programs in several groups becomes one line."""
    by_reason = {}
    for m in missing:
        by_reason.setdefault(m.why, []).append(m)
    out = []
    for why, those in by_reason.items():
        who, groups = (', '.join(dict.fromkeys(getattr(m, key) for m in those)) for key in ('who', 'group'))
        out.append(f'{who} ({groups}): {why}')
    return out


if __name__ == '__main__':
    main()

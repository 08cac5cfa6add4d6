# SPDX-License-Identifier: MIT
"""What `make bench` compares: the works, who does them, and the bars that torc must reach."""
import os
import shutil
from dataclasses import replace

import plan_net
import targets
from bars import Bar, Row, at_most, least
from rounds import Contender, Group, LeftOut

GROUPS = ('switch', 'yield', 'spawn_join', 'spawn_one', 'chan', 'nop', 'nop1', 'timer', 'read', 'read1', 'shards',
          'disk', 'xchan', 'call', 'call_park', 'alloc', 'turn', *plan_net.GROUPS)
RIVALS = ('tokio', 'monoio', 'glommio', 'compio')
CROSS_RIVALS = ('tokio', 'glommio')  # have a channel between executors
IO_SECONDS, DISK_SECONDS = 1, 2  # all contenders of a row run equally long: the best of shorter runs would be luckier


class Commands:
    """Makes contenders out of what is built and installed."""

    def __init__(self, build):
        self.build = build

    def _program(self, name, path, args, help_line):
        path = os.path.join(self.build, path)
        usable = os.access(path, os.X_OK)
        return Contender(name, [path, *map(str, args)], '' if usable else f'no {path}: {help_line}')

    def torc(self, *args):
        return self._program('torc', 'torc-micro', [*args, '--json'], '`make` builds it')

    def torc_bench(self, *args):
        return self._program('torc', 'torc', ['bench', *args], '`make` builds it')

    def floor(self, name, program, *args):
        help_line = '`make -f bench/peers/Makefile` builds it'
        return self._program(name, os.path.join('peers', program), args, help_line)

    def rival(self, name, *args):
        help_line = 'cargo 1.88 or newer (rustup.rs) lets `make -f bench/peers/Makefile` build it'
        return self._program(name, os.path.join('peers', 'rival'), [name, *args], help_line)

    def rivals(self, *args, names=RIVALS):
        return [self.rival(name, *args) for name in names]

    @staticmethod
    def fio(name, *args):
        # As a thread: fio's job processes open sessions of their own, which the scheduler may weigh differently from
        # the rest of us (seen: 90k reads/s against 128k on a busy machine, and no difference on an idle one).
        missing = '' if shutil.which('fio') else 'not installed: `apt install fio`'
        return Contender(name, ['fio', '--ioengine=io_uring', '--thread', '--readonly', *args], missing)


def named(name, contender):
    return replace(contender, name=name)


def micro_groups(c):
    yield Group('switch', [c.torc('switch'), c.floor('ucontext', 'floor_libc', 'switch')], 9, [
        Row('context switch', {'bench': 'switch'}, 'ns', [at_most(1.5)])])
    yield Group('yield', [c.torc('yield'), *c.rivals('yield')], 9, [
        Row('yield, 1,000 tasks', {'bench': 'yield'}, 'ns', [at_most(5)])])
    yield Group('spawn_join', [c.torc('spawn_join'), *c.rivals('spawn_join')], 9, [
        Row('spawn and join, 1,000 at a time', {'bench': 'spawn_join'}, 'ns',
            [at_most(20), least(1, *RIVALS, text='faster than every rival')])])
    yield Group('spawn_one', [c.torc('spawn_one'), *c.rivals('spawn_one'),
                              c.floor('pthread', 'floor_libc', 'spawn_one')], 7, [
        Row('spawn one and wait', {'bench': 'spawn_one'}, 'ns')])
    yield Group('chan', [c.torc('chan'), *c.rivals('chan')], 9, [
        Row('local channel, a message', {'bench': 'chan'}, 'ns', [at_most(10)])])


def ring_groups(c):
    yield Group('nop', [c.torc('nop'), c.floor('floor', 'floor_ring', 'nop', '--seconds', 0.3)], 15, [
        Row('no-op, 128 in flight', {'bench': 'nop'}, 'ops_per_s', [least(0.90, 'floor')])])
    yield Group('nop1', [c.torc('nop1'), c.floor('floor', 'floor_ring', 'nop', '--depth', 1, '--seconds', 0.3)], 15, [
        Row('no-op, one in flight', {'bench': 'nop1'}, 'ops_per_s')])


def timer_group(c):
    rows = []
    for ms in (1, 10, 100):
        rows.append(Row(f'sleep {ms} ms, parked: p50 late', {'bench': 'timer', 'ms': ms, 'mode': 'parked'}, 'p50_us',
                        [least(1, *RIVALS, text='no later than the best rival')]))
    for ms in (1, 10, 100):
        rows.append(Row(f'sleep {ms} ms, precise: p99 late', {'bench': 'timer', 'ms': ms, 'mode': 'precise'}, 'p99_us',
                        [at_most(5, 'us'), Bar(-5, figure='min_us', text='min >= -5 us')]))
    yield Group('timer', [c.torc('timer'), *c.rivals('timer'), c.floor('nanosleep', 'floor_libc', 'timer')], 3, rows)


def shard_groups(c):
    """Two shards on CPUs of their own, or one: what crosses between CPUs, and what N shards cost one that is alone."""
    yield Group('xchan', [c.torc('xchan'), c.floor('floor', 'floor_shards', 'xchan'),
                          *c.rivals('xchan', names=CROSS_RIVALS)], 15, [
        Row('one way between two CPUs, 64-byte messages', {'bench': 'xchan'}, 'ns',
            [least(0.80, 'floor'), least(5, *CROSS_RIVALS, text='>= 5 x the best rival')])], pinned=False)
    yield Group('call', [c.torc('call'), c.floor('floor', 'floor_shards', 'call'), *c.rivals('call', names=CROSS_RIVALS)], 15, [
        Row('call and answer, both spinning', {'bench': 'call'}, 'ns',
            [least(0.5, 'floor'), least(2, *CROSS_RIVALS, text='>= 2 x the best rival')])], pinned=False)
    yield Group('call_park', [c.torc('call_park'), c.floor('floor', 'floor_shards', 'call_park')], 15, [
        Row('call and answer, both asleep', {'bench': 'call_park'}, 'ns', [least(0.9, 'floor')])], pinned=False)
    yield Group('alloc', [c.torc('alloc', 'alloc_remote')], 9, [
        Row('torc_alloc and torc_free', {'bench': 'alloc'}, 'ns', [at_most(10)]),
        Row('torc_free of another shard\'s block', {'bench': 'alloc_remote'}, 'ns', [at_most(30)])], pinned=False)
    yield Group('turn', [c.torc('turn')], 15, [
        Row(f'an empty turn of the loop, {n} shards', {'bench': 'turn', 'shards': n}, 'ns') for n in (2, 64)],
        pinned=False)


def fio_options(path, size, seconds, *more):
    """The options that fio and `torc bench` share, word for word."""
    return ['--name=read', f'--filename={path}', f'--size={size}', '--rw=randread', '--bs=4k', '--direct=1',
            f'--runtime={seconds}', '--time_based', '--output-format=json', *more]


FIXED = ['--fixedbufs', '--registerfiles', '--norandommap']
BATCHED = ['--iodepth=128', '--iodepth_batch_submit=32', '--iodepth_batch_complete_min=32',
           '--iodepth_batch_complete_max=128', *FIXED]


def read_groups(c, path, size):
    floor = ['read', path, '--seconds', IO_SECONDS]
    tuned = fio_options(path, size, IO_SECONDS, *BATCHED)
    reads = {'bench': 'read'}
    yield Group('read', [
        c.torc_bench(*tuned),
        c.floor('floor', 'floor_ring', *floor),
        c.floor('floor, plain', 'floor_ring', *floor, '--plain'),
        c.fio('fio tuned', *tuned),
        c.fio('fio', *fio_options(path, size, IO_SECONDS, '--iodepth=128')),
        *c.rivals('read', '--path', path, '--seconds', IO_SECONDS),
    ], 7, [
        Row(f'4K random read, {path}, depth 128', reads, 'iops',
            [least(0.95, 'floor'), least(1.05, 'fio tuned'), least(1.75, 'fio')]),
        Row('the same: CPU per read', reads, 'cpu_ns'),
    ], IO_SECONDS)
    single = fio_options(path, size, IO_SECONDS, '--iodepth=1', *FIXED)
    yield Group('read1', [
        c.torc_bench(*single),
        c.floor('floor', 'floor_ring', *floor, '--depth', 1),
        c.fio('fio tuned', *single),
    ], 9, [
        Row(f'4K random read, {path}, depth 1', reads, 'iops', [least(0.97, 'floor')]),
        Row('the same: CPU per read', reads, 'cpu_ns'),
    ], IO_SECONDS)


def shards_group(c, path, size, cpus):
    """The same work by one copy and by two, each with its own queue of 128: what a second CPU adds."""
    both = fio_options(path, size, IO_SECONDS, *BATCHED, '--group_reporting')
    one = [*both, f'--cpus_allowed={cpus[0]}']
    two = [*both, f'--cpus_allowed={cpus[0]},{cpus[1]}', '--cpus_allowed_policy=split', '--numjobs=2']
    reads = {'bench': 'read'}
    yield Group('shards', [
        named('2 shards', c.torc_bench(*two)),
        named('1 shard', c.torc_bench(*one)),
        c.fio('fio, 2 threads', *two),
        c.fio('fio, 1 thread', *one),
    ], 11, [
        Row(f'4K random read, {path}, depth 128 a shard, 2 CPUs', reads, 'iops', [least(1.9, '1 shard')]),
        Row('the same: CPU per read', reads, 'cpu_ns'),
    ], IO_SECONDS, pinned=False)


def disk_group(c, path, size):
    options = fio_options(path, size, DISK_SECONDS, *BATCHED)
    reads = {'bench': 'read'}
    yield Group('disk', [
        c.torc_bench(*options),
        c.floor('floor', 'floor_ring', 'read', path, '--seconds', DISK_SECONDS),
        c.fio('fio tuned', *options),
    ], 5, [
        Row(f'4K random read, {path} (real disk), depth 128', reads, 'iops',
            [least(0.95, 'floor', 'fio tuned', text="the device's cap: >= 0.95 x the best")]),
        Row('the same: CPU per read', reads, 'cpu_ns', [least(1, 'fio tuned', text='less than fio')]),
    ], DISK_SECONDS)


def groups(build, wanted, stack, say, cpus):
    """Yields the groups, and a LeftOut for what cannot be had. Targets are prepared when their turn comes, and given
    back when `stack` closes."""
    c = Commands(build)
    for group in [*micro_groups(c), *ring_groups(c), *timer_group(c), *shard_groups(c)]:
        if wanted(group.name):
            yield group
    if wanted('read') or wanted('read1') or wanted('shards'):
        try:
            path = os.environ.get('TORC_BENCH_DEV')
            if not path:
                try:
                    path = stack.enter_context(targets.Zram())
                except targets.Unusable as e:
                    yield LeftOut('read', 'zram0', str(e))
                    path = targets.scratch_file(build, say)
            size = targets.size_of(path)
            yield from (g for g in read_groups(c, path, size) if wanted(g.name))
            if wanted('shards') and len(cpus) > 1:
                yield from shards_group(c, path, size, sorted(cpus))
            elif wanted('shards'):
                yield LeftOut('shards', 'all', 'one CPU only: see taskset')
        except targets.Unusable as e:
            yield LeftOut('read', 'all', str(e))
    if wanted('disk'):
        try:
            path = os.environ.get('TORC_BENCH_DISK') or targets.scratch_file(build, say)
            yield from disk_group(c, path, targets.size_of(path))
        except targets.Unusable as e:
            yield LeftOut('disk', 'all', str(e))
    for group in plan_net.groups(build):
        if wanted(group.name):
            yield group if len(cpus) > 1 else LeftOut(group.name, 'all', 'one CPU only: see taskset')

# SPDX-License-Identifier: MIT
"""The works over the network, who does them, and the bars. Servers on one CPU, load and backend on another."""
import os
import shutil
from dataclasses import replace

from bars import Bar, Row, at_most, least
from rounds import Group
from serve import FOLDER, HOST, Served, Server, allow_descriptors

GROUPS = ('echo', 'accept', 'relay', 'http', 'idle', 'growth', 'udp')
RIVALS = ('libuv', 'tokio', 'monoio', 'glommio', 'compio')
MODES = ('torc', 'torc handler')  # a task for each connection; a task for each message
TCP = f'tcp://{HOST}:{{port}}'
SECONDS, ROUNDS = 0.6, 7  # many short ones
SHAPES = {  # of echo: what it is called, and what the load is told
    '1': ('64 B x 1 connection', ['--connections', 1]),
    '100': ('64 B x 100 connections', ['--connections', 100]),
    '1000': ('64 B x 1,000 connections', ['--connections', 1000]),
    'stream': ('512 B x 4, depth 64', ['--connections', 4, '--message', 512, '--depth', 64]),
    'bulk': ('16 KiB x 4, depth 4', ['--connections', 4, '--message', 16384, '--depth', 4]),
}
SIZES = (1, 10, 100, 1000, 10000)  # of growth
PLOTTED = ('torc', 'torc handler', 'floor', 'epoll', 'tokio', 'monoio')
RELAYED_RATE = 20000  # a second: every proxy keeps up with it
SLOW_RATE = 5000
IDLE, IDLE_BESIDE = 10000, 50000
LARGE_BUFFER = 65536


class Servers:
    """Makes contenders out of what is built and installed."""

    def __init__(self, build):
        self.build = build

    def path(self, *parts):
        return os.path.join(self.build, *parts)

    def _server(self, name, path, args, help_line):
        usable = os.access(path, os.X_OK)
        return Server(name, [path, *map(str, args)], '' if usable else f'no {path}: {help_line}')

    def example(self, name, program, address=TCP):
        return self._server(name, self.path('examples', program), [address], '`make` builds it')

    def peer(self, name, program, *args):
        return self._server(name, self.path('peers', program), args or ['{port}'],
                            '`make -f bench/peers/Makefile` builds it')

    def rival(self, name, *more):
        if name == 'libuv':
            return replace(self.peer(name, 'uv_echo', '{port}', *more[1:]),
                           missing='' if os.access(self.path('peers', 'uv_echo'), os.X_OK) else
                           'libuv1-dev lets `make -f bench/peers/Makefile` build it')
        return self._server(name, self.path('peers', 'rival'), [name, 'echo', '{port}', *more],
                            'cargo 1.88 or newer (rustup.rs) lets `make -f bench/peers/Makefile` build it')

    def echoes(self, *more):
        """All of them; MORE is for those that take the size of their buffers."""
        return [self.example('torc', 'echo'), self.example('torc handler', 'echo_handler'),
                self.peer('floor', 'floor_echo'), self.peer('epoll', 'floor_epoll_echo'),
                *(self.rival(name, *more) for name in RIVALS)]

    def load(self, *args):
        return [self.path('bench', 'load'), *map(str, args)]

    def haproxy(self, name, buffer):
        missing = '' if shutil.which('haproxy') else 'not installed: `apt install haproxy`'
        return Server(name, ['haproxy', '-db', '-q', '-f', '{config}'], missing, 'peers/haproxy.cfg', {'BUFFER': buffer})

    @staticmethod
    def nginx(name, config, **settings):
        missing = '' if shutil.which('nginx') else 'not installed: `apt install nginx`'
        return Server(name, ['nginx', '-e', 'stderr', '-c', '{config}'], missing, config, settings)

    def nginx_relay(self, name, buffer):
        server = self.nginx(name, 'peers/nginx_relay.conf', BUFFER=buffer, MODULE='')
        module = '/usr/lib/nginx/modules/ngx_stream_module.so'
        if os.path.exists(module):  # a package of its own in Debian; elsewhere it may be compiled in
            server.settings['MODULE'] = f'load_module {module};'
        return server


def echo_groups(c):
    for shape, (title, options) in SHAPES.items():
        bars = []
        for who in MODES:
            bars += [least(0.95, 'floor', text=f'{who} >= 0.95 x floor', who=who),
                     least(1, *RIVALS, text='no rival is cheaper', who=who)]
        rate = [least(0.95, 'floor', text=f'{who} >= 0.95 x floor', who=who) for who in MODES]
        if shape == '1':
            rate += [least(2, *RIVALS, text='>= 2 x every rival', who=who) for who in MODES]
        if shape == '1000':
            bars.append(least(1, 'torc', text='<= torc', who='torc handler'))
        echoes = {'bench': 'echo', 'shape': shape}
        yield Group(f'echo.{shape}', c.echoes(), ROUNDS, [
            Row(f'echo, {title}: CPU per message', echoes, 'cpu_ns', bars),
            Row('the same: messages', echoes, 'ops_per_s', rate),
            Row('the same: p99', echoes, 'p99_us'),
        ], once=Served(c.load('--to', TCP, '--pid', '{pid}', '--seconds', SECONDS, *options), echoes))


def accept_group(c):
    accepts = {'bench': 'accept'}
    bars = [least(0.95, 'floor', 'epoll', text='>= 0.95 x the better floor', who=who) for who in MODES]
    load = c.load('--to', TCP, '--pid', '{pid}', '--seconds', SECONDS, '--connections', 64, '--renew', 1)
    yield Group('accept', c.echoes(), ROUNDS, [
        Row('connect, one message, close: connections', accepts, 'ops_per_s', bars),
        Row('the same: CPU per connection', accepts, 'cpu_ns', bars),
    ], once=Served(load, accepts))


def add_latency(samples):
    """What a proxy adds to the best round without one."""
    direct = [r['p99_us'] for name, _, r in samples if name == 'direct']
    for name, _, r in samples:
        if direct and name != 'direct':
            r['added_us'] = r['p99_us'] - min(direct)


def relay_groups(c):
    peers = [c.haproxy('haproxy', 16384), c.nginx_relay('nginx', 16384),
             c.haproxy('haproxy 64k', LARGE_BUFFER), c.nginx_relay('nginx 64k', LARGE_BUFFER)]
    proxies = [c._server('torc', c.path('torc'), ['proxy', '--listen', TCP, '--to', f'tcp://{HOST}:{{backend}}'],
                         '`make` builds it'),
               c.peer('floor', 'floor_relay', '{port}', '{backend}'), *peers]
    backend = [c.path('peers', 'floor_epoll_echo'), '{port}']
    cheapest = least(1, 'floor', *(p.name for p in peers), text='none is cheaper')
    defaults = least(1.5, 'haproxy', 'nginx', text='>= 1.5 x the defaults')
    for shape in ('100', 'stream', 'bulk'):
        title, options = SHAPES[shape]
        relays = {'bench': 'relay', 'shape': shape}
        yield Group(f'relay.{shape}', proxies, ROUNDS, [
            Row(f'relay, {title}: CPU per message', relays, 'cpu_ns',
                [cheapest] if shape == '100' else [cheapest, defaults]),
            Row('the same: messages', relays, 'ops_per_s'),
        ], once=Served(c.load('--to', TCP, '--pid', '{pid}', '--seconds', SECONDS, *options), relays, backend))
    direct = Server('direct', [])
    for name, rate in (('added', RELAYED_RATE), ('added_slow', SLOW_RATE)):
        added = {'bench': 'relay', 'shape': name}
        load = c.load('--to', TCP, '--pid', '{pid}', '--seconds', SECONDS, '--connections', 100, '--rate', rate)
        yield Group(f'relay.{name}', [*proxies, direct], ROUNDS, [
            Row(f'relay, 64 B x 100, {rate:,}/s whatever is answered: p99 added to direct', added, 'added_us',
                [least(1, *(p.name for p in peers), text='lower than every peer')]),
            Row('the same: p99', added, 'p99_us'),
            Row('the same: CPU per message', added, 'cpu_ns'),
        ], once=Served(load, added, backend), derive=add_latency)


def http_groups(c):
    servers = [c.example('torc', 'http_hello'), c.nginx('nginx', 'peers/nginx_http.conf')]
    for shape, depth, least_times in (('one', 1, 1), ('pipelined', 16, 2)):
        gets = {'bench': 'http', 'shape': shape}
        wrk = ['wrk', '-t', '1', '-c', '100', '-d', '1s', '-s', os.path.join(FOLDER, 'net', 'wrk.lua'),
               f'http://{HOST}:{{port}}/', '--', str(depth)]
        able = servers if shutil.which('wrk') else [replace(s, missing='no wrk: `apt install wrk`') for s in servers]
        text = 'less than nginx' if least_times == 1 else f'>= {least_times} x nginx'
        yield Group(f'http.{shape}', able, ROUNDS, [
            Row(f'HTTP hello, 100 connections{", 16 requests at once" if depth > 1 else ""}: CPU per request', gets,
                'cpu_ns', [least(least_times, 'nginx', text=text)]),
            Row('the same: requests', gets, 'ops_per_s'),
        ], once=Served(wrk, gets))


def idle_groups(c):
    holds = {'bench': 'idle'}
    load = c.load('--to', TCP, '--pid', '{pid}', '--connections', 0, '--idle', IDLE)
    yield Group('idle.memory', c.echoes('--buffer', 4096), 3, [
        Row(f'an idle connection of {IDLE:,}: resident memory', holds, 'idle_bytes',
            [at_most(8192, 'B'), Bar(512, text='<= 512 B', who='torc handler')]),
    ], once=Served(load, holds))
    beside = {'bench': 'idle', 'shape': 'beside'}
    # A ring's table of direct descriptors is no larger than the limit of ordinary ones.
    silent = min(IDLE_BESIDE, (allow_descriptors() - 1000) // 1000 * 1000)
    contenders, bars = [], []
    for server in c.echoes()[:3]:
        alone, crowd = f'{server.name}, alone', f'{server.name}, {silent:,} idle'
        contenders += [replace(server, name=crowd, load=['--idle', str(silent)]), replace(server, name=alone)]
        if server.name in MODES:
            bars.append(least(0.5, alone, text='<= 2 x alone', who=crowd))
    load = c.load('--to', TCP, '--seconds', SECONDS, '--connections', 100)
    yield Group('idle.beside', contenders, 5, [
        Row(f'echo, 64 B x 100, beside {silent:,} idle connections: p99', beside, 'p99_us', bars),
        Row('the same: messages', beside, 'ops_per_s'),
    ], once=Served(load, beside))


def growth_name(server, size):
    return f'{server}, {size:,}'


def growth_group(c):
    grows = {'bench': 'growth'}
    contenders, bars = [], []
    for server in c.echoes():
        if server.name not in PLOTTED:
            continue
        for size in SIZES:
            contenders.append(replace(server, name=growth_name(server.name, size), load=['--connections', str(size)]))
            if server.name in MODES and size > 100:
                hundred = growth_name(server.name, 100)
                bars.append(least(0.8, hundred, text='<= 1.25 x 100', who=growth_name(server.name, size)))
    load = c.load('--to', TCP, '--pid', '{pid}', '--seconds', SECONDS)
    yield Group('growth', contenders, 5, [
        Row('echo, 64 B, by connections: CPU per message', grows, 'cpu_ns', bars),
    ], once=Served(load, grows))


def udp_group(c):
    asks = {'bench': 'udp'}
    to = f'udp://{HOST}:{{port}}'
    load = c.load('--to', to, '--pid', '{pid}', '--seconds', SECONDS, '--connections', 100)
    yield Group('udp', [c.example('torc', 'udp_echo', to), c.peer('floor', 'floor_udp_echo')], ROUNDS, [
        Row('UDP echo, 64 B x 100: CPU per message', asks, 'cpu_ns'),
        Row('the same: messages', asks, 'ops_per_s'),
    ], once=Served(load, asks, datagrams=True))


def groups(build):
    c = Servers(build)
    for make in (echo_groups, accept_group, relay_groups, http_groups, idle_groups, growth_group, udp_group):
        yield from make(c)


NAMES = tuple(group.name for group in groups(''))

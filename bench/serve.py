# SPDX-License-Identifier: MIT
"""Runs a server on one CPU and a load against it from another, once.

Each run gets a fresh port: a ring that is going down frees its port late. A proxy under test stands between the load and
a backend, which shares the load's CPU. CPU per request is the server's alone, of all its threads: the load reads it when
its measured window opens and when it closes; where the load can't (wrk), it is read here, round the whole run.
"""
import contextlib
import itertools
import os
import resource
import shlex
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field

from rounds import Contender, end, records_of

HOST = '127.0.0.1'
PORTS = range(20000, 32000)  # below the ephemeral ones
DESCRIPTORS = 200000
START_SECONDS, RUN_SECONDS = 10, 120
FOLDER = os.path.dirname(os.path.abspath(__file__))

_ports = itertools.cycle(PORTS[os.getpid() * 37 % len(PORTS):] or PORTS)


@dataclass
class Server(Contender):
    """argv may hold {port}, {backend} (the backend's port) and {config}. None at all: the load goes to the backend."""
    config: str = ''  # a file in bench/, whose @NAME@ are replaced: PORT, BACKEND, DIR (for its scratch files), settings
    settings: dict = field(default_factory=dict)
    load: list = field(default_factory=list)  # options in addition to the group's


def cpu_now(pid):
    """The CPU time that the process's threads have used so far, io_uring's workers and ended ones included."""
    return time.clock_gettime_ns(~pid << 3 | 2)  # what clock_getcpuclockid(3) computes


def allow_descriptors():
    """Raises the limit for this process and those that it starts, as far as it may. Returns it."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):  # beyond the hard limit: only who may
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit, DESCRIPTORS), max(limit, DESCRIPTORS)))
        return max(limit, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    return limit


def fresh_port():
    for _ in PORTS:
        port = next(_ports)
        with socket.socket() as s, contextlib.suppress(OSError):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((HOST, port))
            return port
    raise ValueError('no port is free')


def said_by(files):
    for f in files:
        f.seek(0)
        for line in f.read().splitlines():
            if line.strip():
                return line.strip()
    return 'no message'


class Running:
    """A process pinned to one CPU. Leaving the `with` ends it."""

    def __init__(self, argv, cpu):
        self.out, self.err = tempfile.TemporaryFile('w+'), tempfile.TemporaryFile('w+')

        try:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.err,
                                            preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))
        except OSError as e:
            raise ValueError(str(e)) from e

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.returncode is None:
            end(self.process)
        self.out.close()
        self.err.close()

    def check(self, what):
        if self.process.poll() is not None:
            raise ValueError(f'{what} with exit code {self.process.returncode}: {said_by((self.err, self.out))}')

    def wait_listening(self, port):
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            self.check('ended')
            with contextlib.suppress(OSError):
                socket.create_connection((HOST, port), 1).close()
                return
            time.sleep(0.01)
        raise ValueError(f'does not listen on port {port} after {START_SECONDS} s')

    def wait_bound(self, port):
        """The same of a datagram socket, which answers nobody who only knocks."""
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            self.check('ended')
            for table in ('/proc/net/udp', '/proc/net/udp6'):
                with contextlib.suppress(OSError), open(table) as f:
                    if any(line.split()[1].endswith(f':{port:04X}') for line in f):
                        return
            time.sleep(0.01)
        raise ValueError(f'has not bound port {port} after {START_SECONDS} s')


@dataclass
class Served:
    """How a group's contenders are run: each is a server, and LOAD, with {port} and {pid}, is what asks it."""
    load: list
    record: dict = field(default_factory=dict)  # added to what the load prints
    backend: list = None
    datagrams: bool = False

    def text(self, server, cpu):
        """The commands, for whoever wants to repeat one run by hand."""
        names = {'port': 'PORT', 'backend': 'BACKEND', 'config': server.config, 'pid': 'PID'}
        load = shlex.join(a.format(**names) for a in [*self.load, *server.load])
        if not server.argv:
            return load
        settings = ', '.join(f'{k}={v}' for k, v in server.settings.items())
        return (f'taskset -c {cpu} ' + shlex.join(a.format(**names) for a in server.argv)
                + (f'  # {settings}' if settings else '') + f'; {load}')

    def __call__(self, server, cpu, cpus):
        """Returns the records, or raises ValueError with one line."""
        client = min(cpus - {cpu}, default=None)
        if client is None:
            raise ValueError('one CPU only: see taskset')
        with contextlib.ExitStack() as stack:
            names = {'port': fresh_port()}
            target = None
            if self.backend:
                names['backend'] = fresh_port()
                target = self._start(stack, self.backend, {'port': names['backend']}, client)
            if server.argv:
                if server.config:
                    names['config'] = self._config(stack, server, names)
                target = self._start(stack, server.argv, names, cpu)
            else:
                names['port'] = names['backend']
            return self._ask(server, target, {**names, 'pid': target.process.pid}, client)

    def _start(self, stack, argv, names, cpu):
        running = stack.enter_context(Running([a.format(**names) for a in argv], cpu))
        (running.wait_bound if self.datagrams else running.wait_listening)(names['port'])
        time.sleep(0.05)  # what it still does after the knock is no part of the work
        return running

    @staticmethod
    def _config(stack, server, names):
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        with open(os.path.join(FOLDER, server.config)) as f:
            text = f.read()
        values = {**server.settings, 'PORT': names['port'], 'BACKEND': names.get('backend', ''), 'DIR': folder}
        for key, value in values.items():
            text = text.replace(f'@{key}@', str(value))
        path = os.path.join(folder, 'config')
        with open(path, 'w') as f:
            f.write(text)
        return path

    def _ask(self, server, target, names, client):
        pid = target.process.pid
        before = cpu_now(pid)
        with Running([a.format(**names) for a in [*self.load, *server.load]], client) as load:
            try:
                code = load.process.wait(RUN_SECONDS)
            except subprocess.TimeoutExpired:
                raise ValueError(f'the load is still running after {RUN_SECONDS} s') from None
            target.check('ended under the load')
            used = cpu_now(pid) - before
            if code:
                raise ValueError(f'the load ended with exit code {code}: {said_by((load.err, load.out))}')
            load.out.seek(0)
            records = records_of(load.out.read())
        for record in records:
            if record.get('errors'):
                raise ValueError(f'{record["errors"]} errors')
            if 'cpu_ns' not in record and record.get('requests'):
                record['cpu_ns'] = used / record['requests']
            record.update(self.record)
        return records

# SPDX-License-Identifier: MIT
"""Runs contenders in many short interleaved rounds and keeps every figure that they print.

A contender is a command; or a server, which serve.py runs under a load. Each round runs each of them once, pinned to one CPU, and every round starts with another
one, so that none always follows the same neighbour. What they print is read as records: either one JSON object a line
(torc-micro and the programs in peers/), or fio's JSON document (fio and `torc bench`).

CPU per operation is measured here, from outside and alike for everyone, where a group asks for it: see CpuWindow.
"""
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

TIMEOUT_SECONDS = 120

# figure: (unit, whether more is better)
FIGURES = {
    'ns': ('ns', False),
    'ops_per_s': ('/s', True),
    'iops': ('/s', True),
    'cpu_ns': ('ns', False),
    'min_us': ('us', False),
    'p50_us': ('us', False),
    'p99_us': ('us', False),
    'max_us': ('us', False),
    'added_us': ('us', False),
    'idle_bytes': ('B', False),
}


@dataclass
class Contender:
    name: str
    argv: list
    missing: str = ''  # why it cannot run, and what would help; it is then left out by name


@dataclass
class Group:
    """Contenders that do the same work. The first one is what the others are compared with."""
    name: str
    contenders: list
    rounds: int
    rows: list = field(default_factory=list)  # of compare.Row: views of the records
    io_seconds: float = 0  # length of a run in which CPU per operation is watched; 0: not watched
    pinned: bool = True  # to one CPU; otherwise each contender places its threads itself
    once: object = None  # how to run a contender once, where it is more than a command: of serve.Served
    derive: object = None  # adds figures that need all samples to them


@dataclass(frozen=True)
class LeftOut:
    group: str
    who: str
    why: str  # one line: the reason, and what would help


class CpuWindow:
    """The CPU time that a process, its children and all their threads use in the middle of a run.

    Start-up, file layout and the final report are no part of the work, so the window opens after the first and closes
    before the last. The kernel's per-process CPU clock is exact to the nanosecond at any instant and includes the
    worker threads of io_uring. Other sources are not equal for both sides: getrusage splits by the timer tick, fio's
    usr_cpu and sys_cpu leave the workers out, and wait4 counts start-up too.
    """
    OPENS_AFTER, CLOSES_BEFORE_END = 0.4, 0.1

    def __init__(self, pid, io_seconds):
        started = time.monotonic()
        self.share = None  # CPU seconds a second
        time.sleep(self.OPENS_AFTER)
        first = self._now(pid)
        time.sleep(max(0.1, io_seconds - self.CLOSES_BEFORE_END - (time.monotonic() - started)))
        last = self._now(pid)
        common = [p for p in last[1] if p in first[1]]
        if common:
            used = sum(last[1][p] - first[1][p] for p in common)
            self.share = used / (last[0] - first[0])

    @staticmethod
    def _now(pid):
        clocks, todo = {}, [pid]
        for p in todo:
            try:
                clocks[p] = time.clock_gettime_ns(~p << 3 | 2)  # what clock_getcpuclockid(3) computes
                for thread in os.listdir(f'/proc/{p}/task'):
                    with open(f'/proc/{p}/task/{thread}/children') as f:
                        todo += [int(child) for child in f.read().split()]
            except OSError:
                pass  # it has just ended
        return time.monotonic_ns(), clocks


def fio_record(document):
    job = document['jobs'][0]
    reads = job['read']
    if job.get('error') or not reads['iops']:
        raise ValueError(f'error {job.get("error")}, {reads["iops"]} IOPS')
    options = {**document.get('global options', {}), **job.get('job options', {})}
    rate = reads['iops']
    record = {'bench': 'read', 'depth': int(options.get('iodepth', 1)), 'iops': rate, 'ns': 1e9 / rate}
    percentiles = reads['clat_ns'].get('percentile', {})
    for name, key in (('p50_us', '50.000000'), ('p99_us', '99.000000')):
        if key in percentiles:
            record[name] = percentiles[key] / 1000
    return record


def records_of(text):
    start = text.find('{')  # fio puts notes before its document
    if start < 0:
        raise ValueError('printed no JSON')
    try:
        document = json.loads(text[start:])
        return [fio_record(document) if 'jobs' in document else document]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines() if line.startswith('{')]


def end(process):
    """Asks first: killed outright, fio would leave its job process behind, and that keeps the device open."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run_once(argv, cpus, io_seconds):
    """Runs one command on CPUS; returns its records, raises ValueError with one line on any failure."""
    with tempfile.TemporaryFile('w+') as out, tempfile.TemporaryFile('w+') as err:
        try:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                       preexec_fn=lambda: os.sched_setaffinity(0, cpus))
        except OSError as e:
            raise ValueError(str(e)) from e
        try:
            window = CpuWindow(process.pid, io_seconds) if io_seconds else None
            process.wait(TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            raise ValueError(f'still running after {TIMEOUT_SECONDS} s') from None
        finally:
            if process.returncode is None:
                end(process)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            said = (err.read().strip() or out.read().strip() or 'no message').splitlines()[0]
            raise ValueError(f'exit code {process.returncode}: {said}')
        records = records_of(out.read())
    for record in records:
        if record.get('failed'):
            raise ValueError(f'{record["failed"]} operations failed')
        if window and window.share and record.get('iops'):
            if 'cpu_ns' in record:
                record['own_cpu_ns'] = record['cpu_ns']  # a cross-check in the samples: the program's own account
            record['cpu_ns'] = window.share / record['iops'] * 1e9
    return records


def run_group(group, rounds, cpu, cpus, say):
    """CPU: for groups that are pinned to one; CPUS: for the others. Returns [(contender's name, round, record)] and who is left out."""
    left_out = [LeftOut(group.name, c.name, c.missing) for c in group.contenders if c.missing]
    failed = set()
    able = [c for c in group.contenders if not c.missing]
    samples = []
    for turn in range(rounds):
        first = turn % len(able) if able else 0
        for contender in able[first:] + able[:first]:
            if contender.name in failed:
                continue
            say(f'{group.name}: round {turn + 1} of {rounds}, {contender.name}')
            try:
                if group.once:
                    records = group.once(contender, cpu, cpus)
                else:
                    records = run_once(contender.argv, {cpu} if group.pinned else cpus, group.io_seconds)
            except (ValueError, KeyError) as e:
                failed.add(contender.name)
                command = group.once.text(contender, cpu) if group.once else ' '.join(contender.argv)
                left_out.append(LeftOut(group.name, contender.name, f'`{command}`: {e}'))
                continue
            samples += [(contender.name, turn, record) for record in records]
    if group.derive:
        group.derive(samples)
    return samples, left_out


def progress(text):
    """One line that rewrites itself on a terminal; nothing elsewhere."""
    if sys.stderr.isatty():
        print(f'\r\033[K{text}', end='', file=sys.stderr, flush=True)

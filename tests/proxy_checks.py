#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What goes through `torc proxy`, and what it does when a side misbehaves: proxy_checks.py TORC DIRECTORY

Clients and backends are this program's own; ports are the kernel's choice. One line "ok NAME" or "not ok NAME why" a
check. TORC_PROXY_MIB says how much is pushed through in all (64), and a name after the directory runs that check alone.
"""
import contextlib, hashlib, json, os, random, re, signal, socket, struct, subprocess, sys, threading, time

TORC, DIRECTORY = sys.argv[1], sys.argv[2]
ONLY = sys.argv[3:]
PATIENCE = 60
checks = []


def check(fn):
    checks.append(fn)
    return fn


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    sock.close()


def address_of(sock):
    name = sock.getsockname()
    return f'unix:{name}' if sock.family == socket.AF_UNIX else f'tcp://{name[0]}:{name[1]}'


def listen(path=None, backlog=128):
    if path:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(path)
    else:
        sock = socket.socket()
        sock.bind(('127.0.0.1', 0))
    sock.listen(backlog)
    return sock


class Backend:
    """Accepts, and runs SERVE(sock) for each connection in a thread of its own."""

    def __init__(self, serve, path=None):
        self.sock, self.serve, self.count = listen(path), serve, 0
        self.address = address_of(self.sock)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            self.count += 1
            threading.Thread(target=self.one, args=(sock,), daemon=True).start()

    def one(self, sock):
        with contextlib.suppress(OSError):
            self.serve(sock)
        sock.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


def echo(sock):
    while data := sock.recv(65536):
        sock.sendall(data)


def refusing_address():
    """Of a port that nobody listens on, and that nobody else is given while it is bound."""
    sock = socket.socket()
    sock.bind(('127.0.0.1', 0))
    return sock, address_of(sock)


class Proxy:
    def __init__(self, *to, listen=('tcp://127.0.0.1:0',), options=()):
        command = [TORC, 'proxy', '--json']
        for address in listen:
            command += ['--listen', address]
        for address in to:
            command += ['--to', address]
        self.process = subprocess.Popen(command + list(options), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True)
        self.first = self.process.stderr.readline()
        found = re.match(r'torc proxy: listening on (.*); ', self.first)
        if not found:
            raise AssertionError(f'it said: {self.first}{self.process.stderr.read()}')
        self.addresses = found.group(1).split(', ')

    def dial(self, which=0):
        address = self.addresses[which]
        if address.startswith('unix:'):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(PATIENCE)
            sock.connect(address[5:])
        else:
            host, port = address[6:].rsplit(':', 1)
            sock = socket.create_connection((host, int(port)), PATIENCE)
        return sock

    def term(self):
        self.process.send_signal(signal.SIGTERM)

    def end(self, term=True):
        """Its counters."""
        if term:
            self.term()
        out, err = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, f'exit status {self.process.returncode}: {err}'
        return json.loads(out)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def ask(proxy, text=b'ask', which=0):
    with proxy.dial(which) as sock:
        sock.sendall(text)
        assert sock.recv(100) == text
    return True


def is_reset(sock):
    """Whether reading ends with a reset; what came before it."""
    data = b''
    try:
        while more := sock.recv(65536):
            data += more
    except ConnectionResetError:
        return True, data
    return False, data


def wait_until(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f'in vain: {what}'
        time.sleep(0.01)


# ------ What goes through

HEADER = struct.Struct('<QQQ')  # who; the bytes to come; the bytes wanted


def pour(sock, size, seed):
    """Sends SIZE bytes in pieces of all sizes and ends; their SHA-256."""
    rng, digest = random.Random(seed), hashlib.sha256()
    block = rng.randbytes(1 << 20)
    while size:
        piece = min(size, rng.choice((1, 100, 4096, 70000, 1 << 20)))
        at = rng.randrange(len(block) - piece + 1)
        sock.sendall(memoryview(block)[at:at + piece])
        digest.update(memoryview(block)[at:at + piece])
        size -= piece
        if rng.random() < 0.01:
            time.sleep(rng.random() / 100)
    sock.shutdown(socket.SHUT_WR)
    return digest.hexdigest()


def drink(sock):
    digest, size = hashlib.sha256(), 0
    while data := sock.recv(1 << 18):
        digest.update(data)
        size += len(data)
    return digest.hexdigest(), size


def read_exactly(sock, size):
    data = b''
    while len(data) < size:
        more = sock.recv(size - len(data))
        assert more, 'an early end'
        data += more
    return data


def in_thread(fn, *args):
    box = []

    def run():
        try:
            box.append(fn(*args))
        except Exception as error:
            box.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def join():
        thread.join(PATIENCE * 10)
        assert box, 'it never ended'
        if isinstance(box[0], Exception):
            raise box[0]
        return box[0]

    return join


def push_through(listen, path, options=()):
    total = int(os.environ.get('TORC_PROXY_MIB', '64')) << 20
    heard, rng = {}, random.Random(total)

    def serve(sock):
        who, _, wanted = HEADER.unpack(read_exactly(sock, HEADER.size))
        sent = in_thread(pour, sock, wanted, -who - 1)
        heard[who] = drink(sock), sent()

    def talk(proxy, who, size, wanted):
        with proxy.dial() as sock:
            sock.sendall(HEADER.pack(who, size, wanted))
            got = in_thread(drink, sock)
            sent = pour(sock, size, who)
            got = got()
        wait_until(lambda: who in heard, 'the backend never heard the end')
        (digest, count), answer = heard[who]
        assert (digest, count) == (sent, size), f'to the backend: {count} bytes of {size}'
        assert got == (answer, wanted), f'to the client: {got[1]} bytes of {wanted}'

    backend = Backend(serve, path)
    with Proxy(backend.address, listen=(listen,), options=options) as proxy:
        left, talks, sizes = total, [], []
        while left > 0 or len(sizes) < 8:
            there, back = (rng.choice((0, 1, 1000, rng.randrange(1 << 21), rng.randrange(max(1, total // 8))))
                           for _ in range(2))
            sizes.append((there, back))
            left -= there + back
        for who, (there, back) in enumerate(sizes):
            talks.append(in_thread(talk, proxy, who, there, back))
            if len(talks) == 16:
                talks.pop(0)()
        for join in talks:
            join()
        counters = proxy.end()
    assert counters['accepted'] == len(sizes) == counters['total']['connections']
    assert counters['unserved'] == counters['idle'] == counters['cut'] == counters['lost'] == 0, counters
    assert counters['total']['active'] == counters['total']['broken'] == 0, counters
    assert counters['total']['to_bytes'] == sum(there + HEADER.size for there, _ in sizes)
    assert counters['total']['from_bytes'] == sum(back for _, back in sizes)
    backend.close()


@check
def every_byte_arrives_over_tcp():
    push_through('tcp://127.0.0.1:0', None, ('--shards', '2'))


@check
def every_byte_arrives_over_unix_sockets():
    push_through(f'unix:{DIRECTORY}/p.sock', f'{DIRECTORY}/b.sock')


@check
def it_listens_on_several_addresses_and_tells_them():
    backend = Backend(echo)
    with Proxy(backend.address, listen=('tcp://127.0.0.1:0', 'tcp://127.0.0.2:0', f'unix:{DIRECTORY}/several.sock'),
               options=('--shards', '2')) as proxy:
        assert len(proxy.addresses) == 3 and proxy.addresses[0] != proxy.addresses[1], proxy.first
        for which in range(3):
            ask(proxy, which=which)
        assert proxy.end()['accepted'] == 3
    assert not os.path.exists(f'{DIRECTORY}/several.sock')


@check
def a_name_is_looked_up():
    backend = Backend(echo)
    with Proxy(backend.address.replace('127.0.0.1', 'localhost')) as proxy:
        ask(proxy)


@check
def an_answer_may_follow_the_end_of_the_question():
    def serve(sock):
        question = b''.join(iter(lambda: sock.recv(100), b''))
        sock.sendall(question[::-1])

    backend = Backend(serve)
    with Proxy(backend.address) as proxy, proxy.dial() as sock:
        sock.sendall(b'question')
        sock.shutdown(socket.SHUT_WR)
        assert is_reset(sock) == (False, b'noitseuq')


# ------ Backends that fail

@check
def another_backend_is_tried():
    holder, nobody = refusing_address()
    backend = Backend(echo)
    with holder, Proxy(nobody, backend.address, options=('--shards', '1', '--eject-after', '2')) as proxy:
        for _ in range(10):
            ask(proxy)
        counters = proxy.end()
    assert counters['unserved'] == 0 and counters['retries'] == 2, counters
    assert counters['backends'][0]['failures'] == 2 and counters['backends'][0]['ejections'] == 1, counters
    assert counters['backends'][0]['out'] is False, counters  # it is over: nobody is left out any more
    assert counters['backends'][1]['connections'] == 10, counters


@check
def clients_are_reset_when_no_backend_is_left():
    (one, first), (two, second) = refusing_address(), refusing_address()
    with one, two, Proxy(first, second, f'unix:{DIRECTORY}/nobody.sock') as proxy:
        for _ in range(5):
            with contextlib.suppress(ConnectionResetError):  # as soon as that
                with proxy.dial() as sock:
                    assert is_reset(sock) == (True, b'')
        counters = proxy.end()
    assert counters['unserved'] == 5 and counters['retries'] == 10, counters


@check
def a_backend_that_does_not_answer_is_left_for_another():
    full = listen(backlog=0)  # a second connection waits for its handshake
    waiting = [socket.socket() for _ in range(8)]
    for sock in waiting:
        sock.setblocking(False)
        sock.connect_ex(full.getsockname())
    backend = Backend(echo)
    with Proxy(address_of(full), backend.address, options=('--shards', '1', '--connect-timeout', '100ms')) as proxy:
        ask(proxy)
        counters = proxy.end()
    assert counters['backends'][0]['failures'] == 1 and counters['backends'][1]['connections'] == 1, counters


@check
def a_backend_is_taken_back_after_its_time():
    holder, nobody = refusing_address()
    backend = Backend(lambda sock: sock.sendall(b'other'))
    with Proxy(nobody, backend.address,
               options=('--shards', '1', '--eject-after', '1', '--eject-time', '50ms')) as proxy:
        def who():
            with proxy.dial() as sock:
                return is_reset(sock)[1]

        assert who() == b'other'
        port = holder.getsockname()[1]
        holder.listen(16)
        back = threading.Thread(target=lambda: holder.accept()[0].sendall(b'again'), daemon=True)
        back.start()
        wait_until(lambda: who() == b'again', 'the backend is back')
        proxy.term()


@check
def a_backend_that_says_nothing_ends_by_the_idle_timeout():
    backend = Backend(lambda sock: time.sleep(PATIENCE))
    with Proxy(backend.address, options=('--idle-timeout', '100ms')) as proxy, proxy.dial() as sock:
        sock.sendall(b'hello?')
        assert is_reset(sock) == (True, b'')
        counters = proxy.end()
    assert counters['idle'] == 1 and counters['total']['to_bytes'] == 6, counters


@check
def a_half_closed_connection_has_a_limit_of_its_own():
    backend = Backend(lambda sock: time.sleep(PATIENCE))
    with Proxy(backend.address, options=('--idle-timeout', '0', '--half-close-timeout', '100ms')) as proxy, \
            proxy.dial() as sock:
        sock.sendall(b'hello?')
        sock.shutdown(socket.SHUT_WR)
        assert is_reset(sock) == (True, b'')
        assert proxy.end()['idle'] == 1


@check
def a_backend_that_dies_in_the_middle_is_told_as_a_reset():
    def serve(sock):
        sock.recv(100)
        sock.sendall(b'x' * 1000)
        while not dying.is_set():
            time.sleep(0.01)
        reset(sock)

    dying = threading.Event()
    backend = Backend(serve)
    with Proxy(backend.address) as proxy, proxy.dial() as sock:
        sock.sendall(b'go on')
        assert read_exactly(sock, 1000) == b'x' * 1000
        dying.set()
        assert is_reset(sock) == (True, b'')
        counters = proxy.end()
    assert counters['total']['broken'] == 1, counters


@check
def a_client_that_resets_is_told_to_the_backend():
    seen = []
    backend = Backend(lambda sock: seen.append(is_reset(sock)))
    with Proxy(backend.address) as proxy:
        sock = proxy.dial()
        sock.sendall(b'bye')
        wait_until(lambda: backend.count, 'a connection')
        time.sleep(0.05)
        reset(sock)
        wait_until(lambda: seen, 'the reset')
        assert seen == [(True, b'bye')], seen
        assert proxy.end()['lost'] == 1


# ------ Choosing

@check
def backends_take_turns():
    backends = [Backend(echo) for _ in range(3)]
    with Proxy(*(b.address for b in backends), options=('--shards', '1')) as proxy:
        for _ in range(12):
            ask(proxy)
    assert [b.count for b in backends] == [4, 4, 4]


@check
def the_least_busy_backend_is_chosen():
    backends = [Backend(echo) for _ in range(2)]
    with Proxy(*(b.address for b in backends), options=('--shards', '1', '--balance', 'least-connections')) as proxy:
        def open_one(to):
            before = backends[to].count
            sock = proxy.dial()
            sock.sendall(b'x')
            assert sock.recv(1) == b'x'
            assert backends[to].count == before + 1, [b.count for b in backends]
            return sock

        socks = [open_one(0), open_one(1), open_one(0), open_one(1)]
        for i in (0, 2):
            socks[i].shutdown(socket.SHUT_WR)
            assert socks[i].recv(1) == b''
        # both of the first backend's have ended: two more go there, whoever's turn it is
        wait_until(lambda: active(proxy)[0] == 0, 'they have ended')
        socks += [open_one(0), open_one(0)]


def active(proxy):
    """By SIGUSR1: how many each backend serves."""
    proxy.process.send_signal(signal.SIGUSR1)
    lines = [proxy.process.stderr.readline() for _ in range(5)]
    assert lines[0].startswith('torc proxy: ') and lines[4].startswith('  total'), lines
    return [int(line.split()[1]) for line in lines[2:4]]


@check
def a_signal_prints_the_counters_of_the_moment():
    backend = Backend(echo)
    holder, nobody = refusing_address()
    with holder, Proxy(backend.address, nobody, options=('--shards', '2')) as proxy, proxy.dial() as sock:
        sock.sendall(b'x' * 5000)
        read_exactly(sock, 5000)
        proxy.process.send_signal(signal.SIGUSR1)
        lines = [proxy.process.stderr.readline() for _ in range(5)]
        assert ' 1 accepted, 0 unserved' in lines[0], lines
        assert lines[2].split()[:3] == [backend.address, '1', '1'], lines
        assert lines[4].split()[-2:] == ['5000B', '5000B'], lines
        sock.sendall(b'y')
        assert sock.recv(1) == b'y'


@check
def more_connections_than_allowed_wait():
    backend = Backend(echo)
    with Proxy(backend.address, options=('--shards', '1', '--connections', '2')) as proxy:
        first, second, third = proxy.dial(), proxy.dial(), proxy.dial()
        for sock in (first, second):
            sock.sendall(b'x')
            assert sock.recv(1) == b'x'
        third.sendall(b'y')
        third.settimeout(0.1)
        try:
            assert not third.recv(1), 'the third was served'
        except TimeoutError:
            pass
        first.close()
        third.settimeout(PATIENCE)
        assert third.recv(1) == b'y'


# ------ The end

@check
def what_is_connected_goes_on_after_sigterm():
    backend = Backend(echo)
    with Proxy(backend.address, options=('--shards', '2', '--drain', '60s')) as proxy, proxy.dial() as sock:
        sock.sendall(b'before')
        assert read_exactly(sock, 6) == b'before'
        proxy.term()

        def refused():
            try:
                proxy.dial().close()
            except ConnectionRefusedError:
                return True
            except ConnectionResetError:  # it had been in the backlog
                return False

        wait_until(refused, 'new connections are refused')
        sock.sendall(b'after')
        assert read_exactly(sock, 5) == b'after'
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b''
        counters = proxy.end(term=False)
    assert counters['cut'] == 0 and counters['total']['to_bytes'] == 11, counters


@check
def what_goes_on_for_too_long_is_cut():
    backend = Backend(echo)
    with Proxy(backend.address, options=('--drain', '100ms')) as proxy, proxy.dial() as sock:
        sock.sendall(b'before')
        assert read_exactly(sock, 6) == b'before'
        proxy.term()
        assert is_reset(sock) == (True, b'')
        assert proxy.end(term=False)['cut'] == 1


@check
def a_client_that_takes_nothing_does_not_hold_the_end_up():
    def serve(sock):
        while True:
            sock.sendall(b'x' * 65536)

    backend = Backend(serve)
    with Proxy(backend.address, options=('--drain', '100ms')) as proxy, proxy.dial() as sock:
        assert sock.recv(1) == b'x'
        time.sleep(0.2)
        assert proxy.end()['cut'] == 1


@check
def a_taken_port_is_one_line():
    for options in ((), ('--shards', '2')):
        with listen() as taken:
            run = subprocess.run([TORC, 'proxy', '--listen', address_of(taken), '--to', 'tcp://127.0.0.1:1', *options],
                                 capture_output=True, text=True, timeout=PATIENCE)
        lines = [line for line in run.stderr.splitlines() if ' take turns ' not in line]
        assert run.returncode == 1 and len(lines) == 1, (run.returncode, run.stderr)
        assert lines[0].startswith('torc: tcp://127.0.0.1:') and 'another program listens there' in lines[0], lines


def main():
    failed = False
    for fn in checks:
        name = f'proxy_{fn.__name__}'
        if ONLY and fn.__name__ not in ONLY:
            continue
        try:
            fn()
            print(f'ok {name}', flush=True)
        except Exception as error:
            failed = True
            where = error.__traceback__
            while where.tb_next:
                where = where.tb_next
            why = str(error).replace('\n', '; ') or type(error).__name__
            print(f'not ok {name} line {where.tb_lineno}: {why}', flush=True)
    return failed


if __name__ == '__main__':
    sys.exit(main())

# SPDX-License-Identifier: MIT
"""What the disk rows read from. Nothing here or in the plan ever writes to a device.

zram0, its pages never written, answers a read by clearing the buffer: the fastest block device that every Linux has, so
it shows the software above it best. A scratch file in the build folder shows the real disk under it.
"""
import os
import time

ZRAM, ZRAM_SYS, ZRAM_BYTES = '/dev/zram0', '/sys/block/zram0', 4 << 30
SCRATCH_BYTES, CHUNK_BYTES = 1 << 30, 4 << 20


class Unusable(Exception):
    """Says why, and what would help, in one line."""


def size_of(path):
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError as e:
        raise Unusable(f'{path}: cannot be opened with O_DIRECT: {e.strerror}') from e
    try:
        return os.lseek(fd, 0, os.SEEK_END)
    finally:
        os.close(fd)


def _read(path):
    with open(path) as f:
        return f.read()


def _write(path, text):
    with open(path, 'w') as f:
        f.write(text)


class Zram:
    """Sets /dev/zram0 up if it is empty, and puts it back as it was."""

    def __init__(self):
        self.ours = False

    def __enter__(self):
        if not os.path.exists(ZRAM_SYS):
            raise Unusable(f'no {ZRAM}: `modprobe zram` as root brings it')
        if os.geteuid():
            raise Unusable(f'{ZRAM} needs root; TORC_BENCH_DEV=PATH names another device or file')
        if _read(f'{ZRAM_SYS}/disksize').strip() == '0':
            try:
                _write(f'{ZRAM_SYS}/disksize', str(ZRAM_BYTES))
            except OSError as e:
                raise Unusable(f'{ZRAM}: cannot set its size: {e.strerror}') from e
            self.ours = True
        elif _read(f'{ZRAM_SYS}/mm_stat').split()[0] != '0':
            raise Unusable(f'{ZRAM} holds data; TORC_BENCH_DEV=PATH names another device or file')
        return ZRAM

    def __exit__(self, *_):
        for _ in range(20 if self.ours else 0):
            try:
                return _write(f'{ZRAM_SYS}/reset', '1')
            except OSError:  # a ring that is going down, or another user: then it stays; an empty zram costs nothing
                time.sleep(0.05)


def scratch_file(folder, say):
    """A file whose blocks have all been written: unwritten extents are answered without asking the disk."""
    path = os.path.join(folder, 'bench-scratch.bin')
    try:
        st = os.stat(path)
        if st.st_size == SCRATCH_BYTES and st.st_blocks * 512 >= SCRATCH_BYTES:
            size_of(path)
            return path
    except FileNotFoundError:
        pass
    if not os.path.isdir(folder):
        raise Unusable(f'no folder {folder}: `make` builds into it')
    space = os.statvfs(folder)
    if space.f_bavail * space.f_frsize < 2 * SCRATCH_BYTES:
        raise Unusable(f'{folder}: less than {2 * SCRATCH_BYTES >> 30} GiB free; TORC_BENCH_DISK=PATH names a file')
    say(f'writing {path}')
    partial = path + '.partial'
    try:
        with open(partial, 'wb') as f:
            for _ in range(SCRATCH_BYTES // CHUNK_BYTES):
                f.write(os.urandom(CHUNK_BYTES))
            f.flush()
            os.fsync(f.fileno())
        os.rename(partial, path)
    except OSError as e:
        raise Unusable(f'{path}: {e.strerror}') from e
    finally:
        if os.path.exists(partial):
            os.unlink(partial)
    size_of(path)
    return path

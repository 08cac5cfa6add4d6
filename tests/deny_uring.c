/* SPDX-License-Identifier: MIT
 *
 * Usage: deny_uring EPERM|ENOSYS PROGRAM [ARGUMENT]...
 * Runs PROGRAM where io_uring is forbidden, as a container's seccomp profile does it: its three system calls answer
 * with that error, for the program and all that it starts. Exit status 125: it could not be arranged.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CANNOT = 125 };

static int forbid(unsigned error)
{
    _Static_assert(SYS_io_uring_enter == SYS_io_uring_setup + 1, "the three numbers adjoin");
    _Static_assert(SYS_io_uring_register == SYS_io_uring_setup + 2, "the three numbers adjoin");
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, SYS_io_uring_setup, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, SYS_io_uring_register, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error & SECCOMP_RET_DATA)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    /* A process that can gain no privileges may filter itself without any. */
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char **argv)
{
    unsigned error = argc < 3                     ? 0
                     : !strcmp(argv[1], "EPERM")  ? EPERM
                     : !strcmp(argv[1], "ENOSYS") ? ENOSYS
                                                  : 0;
    if (!error) {
        fputs("usage: deny_uring EPERM|ENOSYS PROGRAM [ARGUMENT]...\n", stderr);
        return CANNOT;
    }
    if (forbid(error)) {
        perror("deny_uring: seccomp");
        return CANNOT;
    }
    execvp(argv[2], argv + 2);
    perror(argv[2]);
    return CANNOT;
}

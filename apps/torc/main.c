/* SPDX-License-Identifier: MIT
 *
 * The program `torc`: finds the subcommand and hands over. It knows the commands by name and one line each; what they
 * do, their options and their help are their own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "apps/torc/commands.h"

struct command {
    const char *name, *what;
    int (*main)(int argc, char **argv);
};

static int help_main(int argc, char **argv);
static int version_main(int argc, char **argv);

static const struct command COMMANDS[] = {
    {"info", "what this machine offers: kernel, ring features, limits, disks", torc_info_main},
    {"bench", "measure a disk or a file with fio's job files and options", torc_bench_main},
    {"proxy", "pass connections on to backends", torc_proxy_main},
    {"help", "this page; `torc help COMMAND` for one command", help_main},
    {"version", "print the version", version_main},
};
enum { COMMAND_COUNT = sizeof(COMMANDS) / sizeof(COMMANDS[0]) };

static const char EXAMPLES[] =
    "\nexamples:\n"
    "  torc info                              what is here, and what is missing\n"
    "  torc bench --name=try --filename=/tmp/try --size=256m --rw=randread --iodepth=32 \\\n"
    "             --direct=1 --runtime=5      random 4 KiB reads of a scratch file\n"
    "  torc bench job.fio                     run a job file written for fio\n"
    "  torc bench --output-format=json job.fio\n"
    "  torc proxy --listen tcp://:8080 --to tcp://app1:80,tcp://app2:80\n";

static const struct command *find_command(const char *name)
{
    while (*name == '-')
        name++;
    if (!strcmp(name, "h"))
        name = "help";
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (!strcmp(COMMANDS[i].name, name))
            return &COMMANDS[i];
    return NULL;
}

static void print_help(FILE *out)
{
    fputs("torc: storage and network engines on one ring per core\n\n"
          "usage: torc COMMAND [OPTION]...\n\ncommands:\n",
          out);
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-8s %s\n", COMMANDS[i].name, COMMANDS[i].what);
    fputs(EXAMPLES, out);
}

static int help_main(int argc, char **argv)
{
    const struct command *command = argc > 1 ? find_command(argv[1]) : NULL;
    if (argc > 1 && !command) {
        fprintf(stderr, "torc: no command is called \"%s\"; `torc help` lists them\n", argv[1]);
        return 1;
    }
    if (command && command->main != help_main && command->main != version_main) {
        char help[] = "--help", *arguments[] = {argv[1], help, NULL};
        return command->main(2, arguments);
    }
    print_help(stdout);
    return 0;
}

static int version_main(int argc, char **argv)
{
    (void)argc, (void)argv;
    puts("torc " TORC_APP_VERSION);
    return 0;
}

static int run_command(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stdout);
        return 0;
    }
    const struct command *command = find_command(argv[1]);
    if (!command) {
        fprintf(stderr, "torc: no command is called \"%s\"; `torc help` lists them\n", argv[1]);
        return 1;
    }
    return command->main(argc - 1, argv + 1);
}

/* Where one of the three is closed, the next file that is opened would take its place, and messages would be written
 * into the very file that is being measured. What is opened here instead takes none: writing to it is an error. */
static void hold_standard_files(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)!open("/dev/null", fd ? O_RDONLY : O_WRONLY);
}

int main(int argc, char **argv)
{
    hold_standard_files();
    int status = run_command(argc, argv);
    if ((fflush(stdout) || ferror(stdout)) && !status) {
        fprintf(stderr, "torc: standard output can't be written: %s\n", strerror(errno));
        return 1;
    }
    return status;
}

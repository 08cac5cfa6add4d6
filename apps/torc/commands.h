/* SPDX-License-Identifier: MIT
 *
 * The subcommands of the program `torc`: each takes the arguments from its own name on (argv[0] is "info", "bench" …)
 * and returns the exit status of the process: 0 done, 1 failed or refused (but 2 for arguments that proxy refuses). A
 * command prints its result on stdout and everything else on stderr.
 */
#ifndef TORC_APPS_COMMANDS_H
#define TORC_APPS_COMMANDS_H

#define TORC_APP_VERSION "0.1.0"

int torc_info_main(int argc, char **argv);
int torc_bench_main(int argc, char **argv);
int torc_proxy_main(int argc, char **argv);

#endif

/* SPDX-License-Identifier: MIT
 *
 * The tests of the switch once more; the Makefile compiles this file with -O3.
 */
#define SUITE switch_o3
#include "tests/test_core_switch.c" /* NOLINT(bugprone-suspicious-include) */

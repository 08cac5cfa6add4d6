/* SPDX-License-Identifier: MIT
 *
 * What the environment says about a config that says nothing.
 */
#ifndef TORC_SHARD_ENVIRONMENT_INTERNAL_H
#define TORC_SHARD_ENVIRONMENT_INTERNAL_H

#include "io/config.h"

/* Fills in what CONFIG leaves open. -EINVAL: a variable makes no sense; one line names it. */
int torci_environment_apply(struct torc_config *config) TORC_MUST_CHECK;

#endif

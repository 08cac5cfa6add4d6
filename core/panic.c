/* SPDX-License-Identifier: MIT
 *
 * The end of a program whose invariant is broken: one line, then abort.
 */
#include "core/base.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/exec_internal.h"

void torc_panic(const char *file, int line, const char *what)
{
    const struct torci_exec *exec = torci_this;
    if (exec) {
        char text[256];
        snprintf(text, sizeof text, "torc: broken invariant at %s:%d in task \"%s\": %s", file,
                 line, torc_task_name(), what);
        exec->host->report(exec->host->context, text);
    }
    abort();
}

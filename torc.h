/* SPDX-License-Identifier: MIT
 *
 * torc: Threads On Rings, one per Core. Everything that a program needs; each part can be included alone.
 */
#ifndef TORC_H
#define TORC_H

#include "core/base.h"
#include "core/histogram.h"
#include "core/queue.h"
#include "core/task.h"
#include "core/time.h"
#include "io/blocking.h"
#include "io/op.h"
#include "io/resource.h"
#include "io/run.h"
#include "io/signals.h"

#endif

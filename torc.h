/* SPDX-License-Identifier: MIT
 *
 * torc: Threads On Rings, one per Core. Everything that a program needs; each part can be included alone.
 */
#ifndef TORC_H
#define TORC_H

#include "core/base.h"
#include "core/broadcast.h"
#include "core/channel.h"
#include "core/counters.h"
#include "core/event.h"
#include "core/histogram.h"
#include "core/lock.h"
#include "core/oneshot.h"
#include "core/queue.h"
#include "core/select.h"
#include "core/semaphore.h"
#include "core/task.h"
#include "core/time.h"
#include "core/watch.h"
#include "dma/buffer.h"
#include "dma/directory.h"
#include "dma/file.h"
#include "dma/stats.h"
#include "io/blocking.h"
#include "io/config.h"
#include "io/info.h"
#include "io/op.h"
#include "io/resource.h"
#include "io/signals.h"
#include "net/address.h"
#include "net/datagram.h"
#include "net/relay.h"
#include "net/serve.h"
#include "net/socket.h"
#include "net/stream.h"
#include "net/tls.h"
#include "shard/alloc.h"
#include "shard/call.h"
#include "shard/fabric.h"
#include "shard/placement.h"
#include "shard/run.h"
#include "shard/service.h"
#include "shard/thread.h"
#include "shard/topology.h"
#include "shard/xchan.h"

#endif

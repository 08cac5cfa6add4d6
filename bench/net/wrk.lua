-- SPDX-License-Identifier: MIT
-- For wrk: one JSON line instead of its report, and pipelining: wrk -s wrk.lua URL -- 16 sends 16 requests at once.
local batch

function init(args)
    local one = wrk.format(nil, "/")
    batch = string.rep(one, tonumber(args[1]) or 1)
end

function request()
    return batch
end

function done(summary, latency)
    local e = summary.errors
    io.write(string.format(
        '{"requests":%d,"errors":%d,"ops_per_s":%.0f,"p50_us":%d,"p90_us":%d,"p99_us":%d,"p999_us":%d}\n',
        summary.requests, e.connect + e.read + e.write + e.status + e.timeout, summary.requests * 1e6 / summary.duration,
        latency:percentile(50), latency:percentile(90), latency:percentile(99), latency:percentile(99.9)))
end

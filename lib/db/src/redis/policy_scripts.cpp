// SPDX-License-Identifier: Apache-2.0
// What Redis runs, in Lua: the rules of detail/rate_machine.hpp and detail/breaker_machine.hpp, on a hash for each key.

#include "policy_scripts.hpp"

namespace belay::db::redis {

namespace {

// `clock`: microseconds. `uptime`: how long the server has run, at least; very long if it does not tell, nothing if its clock was set back since.
const std::string common = R"lua(
local key = KEYS[1]
local time = redis.call('TIME')
local clock = time[1] * 1000000 + time[2]
local function text(n) return string.format('%.0f', n) end
local function arg(i) return tonumber(ARGV[i]) end
local function uptime()
  local info = redis.pcall('INFO', 'server')
  if type(info) ~= 'string' then return 1e15 end
  local seconds = string.match(info, 'uptime_in_seconds:(-?%d+)')
  return seconds and math.max(0, tonumber(seconds) - 1) * 1000000 or 1e15  -- it counts seconds begun
end
)lua";

// d: how far the bucket is from full, at t; z: when it was full the last time. A server that has just been started may have forgotten it: then it was
// empty at its start. If the clock was set back, time goes on from there.
const std::string take_from_bucket = R"lua(
local interval, depth, cost = arg(1), arg(2), arg(1) * arg(3)
local h = redis.call('HMGET', key, 'd', 't', 'z')
local debt, full
local known = h[1] and clock >= tonumber(h[2])
if h[1] then
  debt = math.max(0, tonumber(h[1]) - math.max(0, clock - tonumber(h[2])) * 1000)
  full = debt > 0 and h[3] or text(clock)
else
  debt = math.max(0, depth - uptime() * 1000)
  full = text(clock)
end
local wait = debt + cost - depth
if wait <= 0 then debt = debt + cost end
if wait <= 0 or not known then
  redis.call('HSET', key, 'd', text(debt), 't', text(clock), 'z', full)
  redis.call('PEXPIRE', key, text(math.ceil(debt / 1000000) + 1000))
end
if wait > 0 then return {0, text(wait), full} end
return {1, '0', full}
)lua";

const std::string give_to_bucket = R"lua(
local h = redis.call('HMGET', key, 'd', 'z')
if h[2] ~= ARGV[2] then return 0 end  -- it has been full since: time has given it back
local debt = tonumber(h[1])
if debt > 0 then redis.call('HSET', key, 'd', text(math.max(0, debt - arg(1)))) end
return 0
)lua";

// Entries h .. n-1, each "time weight", oldest first; u: the sum of their weights. o is added to the clock so that it never goes back; l: last. The first
// number is the time, so that none comes again when the key has expired. What a server that has just been started may have forgotten is one entry.
const std::string take_from_window = R"lua(
local per, permits, weight = arg(1), arg(2), arg(3)
if weight > permits then return {0, text(per), '0'} end
local v = redis.call('HMGET', key, 'h', 'n', 'u', 'o', 'l')
local head, next, used = tonumber(v[1] or clock), tonumber(v[2] or clock), tonumber(v[3] or 0)
if not v[2] then
  local up = uptime()
  if up < per then
    redis.call('HSET', key, text(next), text(clock - up) .. ' ' .. text(permits))
    next, used = next + 1, permits
    redis.call('PEXPIRE', key, text(math.ceil(per / 1000) + 1000))
  end
end
local offset, last = tonumber(v[4] or 0), tonumber(v[5] or 0)
if clock + offset < last then offset = last - clock end
local now = clock + offset
local function entry(i)
  local t, w = string.match(redis.call('HGET', key, text(i)), '(%d+) (%d+)')
  return tonumber(t), tonumber(w)
end
while head < next do
  local t, w = entry(head)
  if t + per > now then break end
  used = used - w
  redis.call('HDEL', key, text(head))
  head = head + 1
end
local answer
if weight > permits - used then
  local left, start, i = used, now, head
  while i < next and weight > permits - left do
    local t, w = entry(i)
    left = left - w
    start = t + per
    i = i + 1
  end
  answer = {0, text(start - now), '0'}
else
  redis.call('HSET', key, text(next), text(now) .. ' ' .. text(weight))
  answer = {1, '0', text(next)}
  used = used + weight
  next = next + 1
  redis.call('PEXPIRE', key, text(math.ceil(per / 1000) + 1000))
end
redis.call('HSET', key, 'h', text(head), 'n', text(next), 'u', text(used), 'o', text(offset), 'l', text(now))
return answer
)lua";

const std::string give_to_window = R"lua(
local entry = redis.call('HGET', key, ARGV[1])
if not entry then return 0 end
local t, w = string.match(entry, '(%d+) (%d+)')
redis.call('HSET', key, ARGV[1], t .. ' 0', 'u', text(tonumber(redis.call('HGET', key, 'u')) - tonumber(w)))
return 0
)lua";

// s: state (0 closed, 1 open, 2 half open); g: generation; r: failures in a row; u: open until, -1 for ever; k: how often reopened;
// pr, ps, pf: probes running, succeeded, failed; pt: when the last one was let in. The window: w<i>, or b<i> by time. fk, fc, fm: kind, code and
// message of the failure that was counted last.
const std::string breaker = R"lua(
local open_for, growth, longest, probes, enough = arg(1), arg(2), arg(3), arg(4), arg(5)
local probe_limit, keep = arg(6), arg(7)
local names = {'s', 'g', 'r', 'u', 'k', 'pr', 'ps', 'pf', 'pt', 'o', 'l'}
local found = redis.call('HMGET', key, unpack(names))
local fresh = not found[1]
local it = {}
for i, name in ipairs(names) do it[name] = tonumber(found[i] or 0) end
if fresh then it.g = clock end
local moved = clock + it.o < it.l  -- the clock was set back
if moved then it.o = it.l - clock end
local now = clock + it.o
local function save()
  it.l = now
  local all = {}
  for _, name in ipairs(names) do
    all[#all + 1] = name
    all[#all + 1] = text(it[name])
  end
  redis.call('HSET', key, unpack(all))
  if it.s == 1 and it.u < 0 then
    redis.call('PERSIST', key)
  else
    local open = it.s == 1 and math.max(0, it.u - now) or 0
    redis.call('PEXPIRE', key, text(math.ceil((open + keep) / 1000)))
  end
end
local function go_to(state)
  local last = redis.call('HMGET', key, 'fk', 'fc', 'fm')
  redis.call('DEL', key)
  if last[3] then redis.call('HSET', key, 'fk', last[1], 'fc', last[2], 'fm', last[3]) end
  it.s, it.g, it.r, it.pr, it.ps, it.pf = state, it.g + 1, 0, 0, 0, 0
end
local function trip()
  go_to(1)
  if open_for < 0 then it.u = -1 return end
  local length = open_for
  if it.k > 0 and growth ~= 1 then
    length = open_for * growth ^ it.k
    if length >= longest then length = math.max(open_for, longest) end
  end
  it.u = now + math.floor(length)
end
)lua";

const std::string admit_to_breaker = R"lua(
local before = it.s
if it.s == 1 and it.u >= 0 and now >= it.u then go_to(2) end
local admitted = it.s == 0
if it.s == 2 then
  if it.pr > 0 and it.pr + it.ps + it.pf >= probes and now - it.pt >= probe_limit then
    it.pr = 0
    it.g = it.g + 1
  end
  admitted = it.pr + it.ps + it.pf < probes
  if admitted then it.pr, it.pt = it.pr + 1, now end
end
if fresh or moved or it.s == 2 then save() end
local last = {}
if not admitted then last = redis.call('HMGET', key, 'fk', 'fc', 'fm') end
return {admitted and 1 or 0, text(it.g), it.s, it.s == 1 and it.u >= 0 and text(it.u - now) or '-1', it.s ~= before and 1 or 0,
        last[1] or '', last[2] or '', last[3] or ''}
)lua";

const std::string end_at_breaker = R"lua(
local before = it.s
local verdict, slow = arg(9), arg(10) == 1
local consecutive, failure_rate, slow_rate = arg(11), arg(12), arg(13)
local window_calls, bucket, minimum = arg(14), arg(15), arg(16)
local function answer() return {it.s, it.s ~= before and 1 or 0} end
if fresh or arg(8) ~= it.g then return answer() end
local failed = verdict == 2
local function keep_words()
  if failed then redis.call('HSET', key, 'fk', ARGV[17], 'fc', ARGV[18], 'fm', ARGV[19]) end
end
if it.s == 2 then
  it.pr = it.pr - 1
  if verdict ~= 0 then
    if failed or slow then it.pf = it.pf + 1 else it.ps = it.ps + 1 end
    if it.ps >= enough then
      it.k = 0
      go_to(0)
    elseif probes - it.pf < enough then
      it.k = it.k + 1
      trip()
    end
  end
  save()
  keep_words()
  return answer()
end
if verdict == 0 then return answer() end
it.r = failed and it.r + 1 or 0
local calls, failures, slows = 0, 0, 0
if failure_rate > 0 or slow_rate > 0 then
  if bucket > 0 then
    local current = math.floor(now / bucket)
    local mine = 'b' .. text(current % 10)
    local all = redis.call('HMGET', key, 'b0', 'b1', 'b2', 'b3', 'b4', 'b5', 'b6', 'b7', 'b8', 'b9')
    local c, f, s = 1, failed and 1 or 0, slow and 1 or 0
    for i = 1, 10 do
      local at, bc, bf, bs = string.match(all[i] or '', '(%d+) (%d+) (%d+) (%d+)')
      if at and tonumber(at) == current then
        c, f, s = c + bc, f + bf, s + bs
      elseif at and tonumber(at) > current - 10 and tonumber(at) < current then
        calls, failures, slows = calls + bc, failures + bf, slows + bs
      end
    end
    calls, failures, slows = calls + c, failures + f, slows + s
    redis.call('HSET', key, mine, table.concat({text(current), text(c), text(f), text(s)}, ' '))
  else
    local v = redis.call('HMGET', key, 'wi', 'wc', 'wf', 'ws', 'wn')
    if v[1] and tonumber(v[5]) ~= window_calls then  -- the options have changed: it begins anew
      for n = 0, tonumber(v[2]) - 1 do redis.call('HDEL', key, 'w' .. text(n)) end
      v = {}
    end
    local i = tonumber(v[1] or 0)
    calls, failures, slows = tonumber(v[2] or 0), tonumber(v[3] or 0), tonumber(v[4] or 0)
    if calls == window_calls then
      local old = tonumber(redis.call('HGET', key, 'w' .. text(i)) or 0)
      if old % 2 == 1 then failures = failures - 1 end
      if old >= 2 then slows = slows - 1 end
    else
      calls = calls + 1
    end
    if failed then failures = failures + 1 end
    if slow then slows = slows + 1 end
    redis.call('HSET', key, 'w' .. text(i), text((failed and 1 or 0) + (slow and 2 or 0)), 'wi', text((i + 1) % window_calls),
               'wc', text(calls), 'wf', text(failures), 'ws', text(slows), 'wn', text(window_calls))
  end
end
if failed or slow then
  local met = consecutive > 0 and it.r >= consecutive
  if calls >= minimum and calls > 0 then
    met = met or failure_rate > 0 and failures >= failure_rate * calls - 1e-9
    met = met or slow_rate > 0 and slows >= slow_rate * calls - 1e-9
  end
  if met then trip() end
end
save()
keep_words()
return answer()
)lua";

}  // namespace

policy_store::scripts::scripts()
    : bucket_take(common + take_from_bucket),
      bucket_give(common + give_to_bucket),
      window_take(common + take_from_window),
      window_give(common + give_to_window),
      breaker_admit(common + breaker + admit_to_breaker),
      breaker_ended(common + breaker + end_at_breaker) {}

}  // namespace belay::db::redis

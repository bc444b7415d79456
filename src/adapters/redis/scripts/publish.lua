-- Publishes commits of orders and finishes entries: all of it, or nothing of an order or entry.
--
-- KEYS  pending, completed, failed, events, finished, marked, then the version keys, then one state key for each order
-- ARGV  the 16 below; for each order: its version key (counted from 1), order_id, client_order_id, state, the
--       state's version, terminal, oldest_unpublished, number of commits (0: put back what Redis lost of state and
--       version), and for each commit: first_version, version, status, events, message; for each finish: entry id,
--       completed, its order's version key, that order's version (0: no order), the order whose state is its field
--       `order` (0: none), when the journal said that it is not published (server's ms, 0: it was not asked),
--       number of field arguments, the fields; then the ids to forget.
-- Returns for each order the version that is out, or -1 - version where there is a gap behind it; then for each
-- finish 0 done, 1 finished already, 2 another's, 3 gone, 4 behind.
--
-- Redis does not take back what a script wrote before it failed: all that can fail is read first.
-- The heartbeat keys of other consumers are the only keys not in KEYS: they share the prefix, hence the slot.
local pending, completed, failed, events, finished, marked = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local group, consumer, channel, heartbeats = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local event_history, outcome_history = tonumber(ARGV[5]), tonumber(ARGV[6])
local state_ttl, version_ttl = ARGV[7], ARGV[8]
local lowest, highest = ARGV[9], ARGV[10]
local orders, finishes, versions, forgets =
  tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14])
local stale_ms, remember_ms = tonumber(ARGV[15]), tonumber(ARGV[16])
local call, HEAD, FIXED, SLACK = redis.call, 16, 6, 200
local DONE, ALREADY, ANOTHERS, GONE, BEHIND = 0, 1, 2, 3, 4

-- The arguments add up.
local at, ids, states, unpublished_at, now = HEAD + 1, {}, {}, {}, 0
for i = 1, orders do
  states[i] = at + 3
  at = at + 8 + 5 * tonumber(ARGV[at + 7])
end
for i = 1, finishes do
  ids[i] = ARGV[at]
  unpublished_at[i] = tonumber(ARGV[at + 5])
  at = at + 7 + tonumber(ARGV[at + 6])
end
if at - 1 + forgets ~= #ARGV or FIXED + versions + orders ~= #KEYS then
  return redis.error_reply('ERR publish: the arguments do not add up')
end

if forgets > 0 or (finishes > 0 and unpublished_at[1] > 0) then
  local time = call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- What was published last, by version key.
local published = {}
if versions > 0 then
  for i, version in ipairs(call('MGET', unpack(KEYS, FIXED + 1, FIXED + versions))) do
    published[i] = tonumber(version)
  end
end
if orders > 0 then
  call('XLEN', events)
end

-- May each entry be finished: DONE, or the answer that says why not. One look for the whole batch; what it
-- does not show (others of ours may lie between) is asked for one by one.
local holds, remembered = {}, {}
if finishes > 0 then
  call('XLEN', completed)
  call('XLEN', failed)
  remembered = call('SMISMEMBER', finished, unpack(ids))
  local mine = {}
  local held = redis.pcall('XPENDING', pending, group, lowest, highest, finishes, consumer)
  local no_group = held.err and string.find(held.err, 'NOGROUP', 1, true)
  if held.err and not no_group then
    return held
  end
  for _, entry in ipairs(held) do
    mine[entry[1]] = true
  end
  for i = 1, finishes do
    local id = ids[i]
    if mine[id] then
      holds[i] = DONE
    elseif remembered[i] == 0 then
      local entry = not no_group and call('XPENDING', pending, group, id, id, 1)[1]
      local holder = entry and entry[2]
      if holder == consumer then
        holds[i] = DONE
      else
        local exists = #call('XRANGE', pending, id, id) == 1
        if not holder and exists then
          holds[i] = DONE
        elseif not holder then
          -- Gone: finished and forgotten, or lost with Redis. Lost it is where the journal said a moment ago that
          -- it is not published, and it was not finished and marked since.
          local fresh = unpublished_at[i] > 0 and now - unpublished_at[i] <= stale_ms
          holds[i] = fresh and not call('ZSCORE', marked, id) and DONE or GONE
        elseif exists or call('EXISTS', heartbeats .. holder) == 1 then
          holds[i] = ANOTHERS
        else
          -- Trimmed, and its holder is dead: XCLAIM cannot take it over, so whoever has its outcome ends it.
          holds[i] = DONE
        end
      end
    end
  end
end

-- Now and then, not with each entry: in Redis's log an XADD that trims tells the length of then, exactly, and where
-- what was loaded from that log is not what was then, it cuts off what is good.
local function trim(stream, history)
  if history > 0 and call('XLEN', stream) >= history + SLACK then
    call('XTRIM', stream, 'MAXLEN', '~', history)
  end
end

-- Nothing below fails.
local answers = {}
at = HEAD + 1
for i = 1, orders do
  local slot, order_id, client_order_id = tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 2]
  local state, terminal, oldest = ARGV[at + 3], ARGV[at + 5] == '1', ARGV[at + 6] == '1'
  local commits, out, gap = tonumber(ARGV[at + 7]), published[slot], false
  local before = out
  if commits == 0 then
    local version, key = tonumber(ARGV[at + 4]), KEYS[FIXED + versions + i]
    if out == version then
      if call('EXISTS', key) == 0 then
        call('SET', key, state, 'EX', state_ttl)
      end
    elseif not out and oldest then
      -- Nothing happens to it any more than what is marked as published: Redis lost that it was.
      call('SET', key, state, 'EX', state_ttl)
      out = version
      published[slot] = version
      if terminal then
        call('SET', KEYS[FIXED + slot], ARGV[at + 4], 'EX', version_ttl)
      else
        call('SET', KEYS[FIXED + slot], ARGV[at + 4])
      end
    else
      gap = not out or out < version
    end
    before = out
  end
  at = at + 8
  for c = 1, commits do
    local first, version = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
    if gap or (out and version <= out) then
      -- behind a gap, or out before
    elseif (out and first == out + 1) or (not out and c == 1 and oldest) then
      call('PUBLISH', channel, ARGV[at + 4])
      call('XADD', events, '*', 'order_id', order_id, 'client_order_id', client_order_id, 'first_version', ARGV[at],
        'version', ARGV[at + 1], 'events', ARGV[at + 3], 'status', ARGV[at + 2])
      out = version
    else
      gap = true
    end
    at = at + 5
  end
  if out ~= before then
    published[slot] = out
    local version = string.format('%.0f', out)
    if gap then
      call('SET', KEYS[FIXED + slot], version)
    else
      -- More of this order follows where it brings no state.
      if state ~= '' then
        call('SET', KEYS[FIXED + versions + i], state, 'EX', state_ttl)
      end
      if terminal then
        call('SET', KEYS[FIXED + slot], version, 'EX', version_ttl)
      else
        call('SET', KEYS[FIXED + slot], version)
      end
    end
  end
  if gap then
    answers[i] = -1 - (out or 0)
  else
    answers[i] = out or 0
  end
end

if orders > 0 then
  trim(events, event_history)
end

local leaving, ended, seen = {}, {}, {}
for i = 1, finishes do
  local id, stream = ids[i], ARGV[at + 1] == '1' and completed or failed
  local slot, after = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local order, fields = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 6])
  at = at + 7
  local answer
  if remembered[i] == 1 or seen[id] then
    answer = ALREADY
    leaving[#leaving + 1] = id
  elseif holds[i] ~= DONE then
    answer = holds[i]
  elseif after > 0 and (published[slot] or 0) < after then
    answer = BEHIND
  else
    answer = DONE
    local head = { stream, '*' }
    if order > 0 then
      head[#head + 1] = 'order'
      head[#head + 1] = ARGV[states[order]]
    end
    for f = at, at + fields - 1 do
      head[#head + 1] = ARGV[f]
    end
    call('XADD', unpack(head))
    seen[id] = true
    ended[#ended + 1] = id
    leaving[#leaving + 1] = id
  end
  at = at + fields
  answers[orders + i] = answer
end
if #ended > 0 then
  call('SADD', finished, unpack(ended))
  trim(completed, outcome_history)
  trim(failed, outcome_history)
end
if #leaving > 0 then
  call('XACK', pending, group, unpack(leaving))
  call('XDEL', pending, unpack(leaving))
end
if forgets > 0 then
  call('SREM', finished, unpack(ARGV, at, at + forgets - 1))
  -- Whoever read the journal before they were marked may still come with one of them.
  local scored = {}
  for i = at, at + forgets - 1 do
    scored[#scored + 1] = now
    scored[#scored + 1] = ARGV[i]
  end
  call('ZADD', marked, unpack(scored))
  call('ZREMRANGEBYSCORE', marked, '-inf', now - remember_ms)
  call('PEXPIRE', marked, remember_ms)
end
return answers

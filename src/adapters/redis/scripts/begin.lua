-- Takes over the first of some candidates that may be taken over, and raises its delivery count. An entry may
-- be when we hold it (its delivery never reached us), or when its holder has been idle too long and is dead.
--
-- KEYS  pending, then for each candidate the heartbeat key of the holder that was seen
-- ARGV  group, consumer, idle limit in ms, then for each candidate: id, the holder that was seen
-- Returns {candidates looked at} where none was, else {candidates looked at, id, deliveries, fields}; without
-- fields where the body was trimmed: such an entry is left with its holder, since XCLAIM would drop it.
local pending, group, consumer, limit = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local candidates = #KEYS - 1
for i = 1, candidates do
  local id, seen = ARGV[2 + 2 * i], ARGV[3 + 2 * i]
  local held = redis.call('XPENDING', pending, group, id, id, 1)[1]
  if held then
    local holder, idle, deliveries = held[2], held[3], held[4]
    local dead = holder == seen and idle >= limit and redis.call('EXISTS', KEYS[1 + i]) == 0
    if holder == consumer or dead then
      local entry = redis.call('XRANGE', pending, id, id)[1]
      if not entry then
        return { i, id, deliveries }
      end
      redis.call('XCLAIM', pending, group, consumer, 0, id)
      if holder ~= consumer and #redis.call('XPENDING', pending, group, '-', '+', 1, holder) == 0 then
        redis.call('XGROUP', 'DELCONSUMER', pending, group, holder)
      end
      return { i, id, deliveries + 1, entry[2] }
    end
  end
end
return { candidates }

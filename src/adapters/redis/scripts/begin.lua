-- Takes over some candidates that may be taken over. An entry may be when we hold it (its delivery never reached
-- us), or when its holder has been idle too long and is dead.
--
-- Several of a dead holder are taken at once, and not counted as delivered; whoever takes so is marked for a while.
-- Where a marked holder is the dead one, one of what it took may have brought it down: each is then taken alone, and
-- its delivery counted. So no entry is counted for what its neighbour does.
--
-- KEYS  pending, our own mark, then for each candidate the heartbeat key and the mark of the holder that was seen
-- ARGV  group, consumer, idle limit in ms, how long a mark lasts in ms, then for each candidate: id, holder seen
-- Returns candidates looked at, then for each entry taken {id, deliveries, fields}; without fields where the body was
-- trimmed: such an entry is left with its holder, since XCLAIM would drop it.
local pending, group, consumer, limit = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local candidates = (#KEYS - 2) / 2
local looked, taken, together, holders = 0, {}, {}, {}
for i = 1, candidates do
  local id, seen = ARGV[3 + 2 * i], ARGV[4 + 2 * i]
  local held = redis.call('XPENDING', pending, group, id, id, 1)[1]
  local holder, idle, deliveries = held and held[2], held and held[3], held and held[4]
  local dead = held and holder == seen and idle >= limit and redis.call('EXISTS', KEYS[1 + 2 * i]) == 0
  if held and (holder == consumer or dead) then
    local entry = redis.call('XRANGE', pending, id, id)[1]
    -- Taken alone once, always alone: it is suspected already.
    local alone = not entry or holder == consumer or deliveries > 1 or redis.call('EXISTS', KEYS[2 + 2 * i]) == 1
    if alone and #taken > 0 then
      break
    end
    if not entry then
      return { i, { id, deliveries } }
    end
    taken[#taken + 1] = { id, deliveries + 1, entry[2] }
    holders[holder] = true
    looked = i
    if alone then
      redis.call('XCLAIM', pending, group, consumer, 0, id)
      break
    end
    together[#together + 1] = id
  end
  looked = i
end
if #together > 0 then
  local claim = { 'XCLAIM', pending, group, consumer, 0 }
  for _, id in ipairs(together) do
    claim[#claim + 1] = id
  end
  claim[#claim + 1] = 'JUSTID'
  redis.call(unpack(claim))
  redis.call('SET', KEYS[2], 1, 'PX', ARGV[4])
end
for holder in pairs(holders) do
  if holder ~= consumer and #redis.call('XPENDING', pending, group, '-', '+', 1, holder) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', pending, group, holder)
  end
end
return { looked, unpack(taken) }

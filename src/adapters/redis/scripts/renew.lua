-- Says of the entries that a consumer works on, for long already, that it still does. JUSTID leaves the delivery
-- count alone; XCLAIM would also steal, so only what the consumer holds is claimed, in the same step.
--
-- KEYS  pending
-- ARGV  group, consumer, idle for so many ms at least, how many at most
-- Returns how many were renewed.
local held = redis.pcall('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], '-', '+', ARGV[4], ARGV[2])
if held.err then
  return string.find(held.err, 'NOGROUP', 1, true) and 0 or held
end
local claim = { 'XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0 }
for _, entry in ipairs(held) do
  -- XCLAIM would let go of an entry whose body was trimmed.
  if #redis.call('XRANGE', KEYS[1], entry[1], entry[1]) == 1 then
    claim[#claim + 1] = entry[1]
  end
end
local renewed = #claim - 5
if renewed > 0 then
  claim[#claim + 1] = 'JUSTID'
  redis.call(unpack(claim))
end
return renewed

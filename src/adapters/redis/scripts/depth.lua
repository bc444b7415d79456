-- KEYS pending; ARGV group. Returns entries in the stream, entries held, id of the first entry (or nothing).
local held = redis.pcall('XPENDING', KEYS[1], ARGV[1])
if held.err and not string.find(held.err, 'NOGROUP', 1, true) then
  return held
end
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
return { redis.call('XLEN', KEYS[1]), held[1] or 0, first and first[1] or false }

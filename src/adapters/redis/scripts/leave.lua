-- Takes a consumer's name out of the group if it holds nothing: XGROUP DELCONSUMER drops what it holds.
-- Its heartbeat ends in any case, so that others take over what it left.
--
-- KEYS  pending, the consumer's heartbeat key
-- ARGV  group, consumer
-- Returns 1 where the name is out of the group, else 0.
redis.call('DEL', KEYS[2])
local held = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if held.err then
  return string.find(held.err, 'NOGROUP', 1, true) and 1 or held
end
if #held > 0 then
  return 0
end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1

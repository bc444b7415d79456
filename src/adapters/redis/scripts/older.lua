-- KEYS pending; ARGV id, limit. Returns the ids of entries before it; the bodies stay on the server.
local ids = {}
for i, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '(' .. ARGV[1], 'COUNT', ARGV[2])) do
  ids[i] = entry[1]
end
return ids

-- KEYS pending; ARGV ids. Returns those whose entry is in the stream.
local there = {}
for _, id in ipairs(ARGV) do
  if #redis.call('XRANGE', KEYS[1], id, id) == 1 then
    there[#there + 1] = id
  end
end
return there

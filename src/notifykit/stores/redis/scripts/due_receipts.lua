-- ARGV: now, how long one waits at first, how long at the most, how many to look at.  Returns (receipt, delivery) of
-- those that have waited and whose delivery is known.
local now, first_look, most, found = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), {}
for _, key in ipairs(call('ZRANGEBYSCORE', P .. 'pl', '-inf', int(now), 'LIMIT', 0, ARGV[4])) do
  local its = unpacked(call('HGET', P .. 'pw', key))
  if not its or its[2] < now - most then
    call('ZREM', P .. 'pl', key)
    call('HDEL', P .. 'pw', key)
  else
    call('ZADD', P .. 'pl', now + math.max(now - its[2], first_look), key)
    local id, row = recipient_of(its[3], its[4])
    if row then
      found[#found + 1] = { its[1], answer(id, row) }
    end
  end
end
return found

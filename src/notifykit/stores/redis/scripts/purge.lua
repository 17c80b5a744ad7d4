-- ARGV: before when rows must have ended, keys have been published, and buckets been filled; and the limit.
local before, limit = '(' .. ARGV[1], tonumber(ARGV[4])

-- Keys cost little: all that are old go, some thousand at a time.
local keys = call('ZRANGEBYSCORE', P .. 'kp', '-inf', '(' .. ARGV[2], 'LIMIT', 0, 5000)
for _, key in ipairs(keys) do
  hset(P .. 'k', key, false)
  zset(P .. 'kp', key, false)
end

local ended, events = call('ZRANGEBYSCORE', P .. 'ended', '-inf', before, 'LIMIT', 0, limit), {}
fetch(ended)
for _, id in ipairs(ended) do
  local row = row_of(id)
  if row then
    for _, event_id in ipairs(forget(id, row)) do
      events[event_id] = row[TENANT]
    end
  else
    zset(P .. 'ended', id, false)
  end
end
write_all()
for event_id, tenant in pairs(events) do
  release(tenant, event_id)
end

write_all()

local buckets = call('ZRANGEBYSCORE', P .. 'caps', '-inf', '(' .. ARGV[3], 'LIMIT', 0, limit)
for _, name in ipairs(buckets) do
  hset(P .. 'b', name, false)
  zset(P .. 'caps', name, false)
  zset(P .. 'capnames', name, false)
end

local unneeded = {}
if #ended < limit then
  unneeded = call('ZRANGEBYSCORE', P .. 'idle', '-inf', before, 'LIMIT', 0, limit - #ended)
  for _, id in ipairs(unneeded) do
    local line = described(call('HGET', P .. 'e', id))
    if line then
      forget_event(line[2], id)
    end
    zset(P .. 'idle', id, false)
  end
end
flush()
return #ended + #unneeded + #buckets

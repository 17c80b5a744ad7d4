-- ARGV: now.  Returns how many events and deliveries wait, are being sent and are dead, and since when the oldest is due.
local now, oldest = tonumber(ARGV[1]), nil

local function consider(due)
  due = tonumber(due or nil)
  if due and due <= now and (not oldest or due < oldest) then
    oldest = due
  end
end

for _, lane in ipairs(call('SMEMBERS', P .. 'lanes')) do
  consider(first_due(P .. 't:' .. lane))
end
consider(first_due(P .. 'handed'))
for rank = 0, 2 do
  local lane = 'e' .. rank
  consider(first_due(P .. 't:' .. lane))
  -- An event that is being planned is still due; of many only the first are looked at.
  for _, tenant in ipairs(call('ZRANGE', P .. 't:' .. lane, 0, 9)) do
    for _, id in ipairs(call('ZRANGE', group_key(lane, tenant), 0, 9)) do
      local its = unplanned(id)
      consider(its and its[U_DUE])
    end
  end
end
local found = call('HMGET', P .. 'n', 'pending', 'held', 'sending', 'dead')
for at = 1, 4 do
  found[at] = tonumber(found[at] or 0)
end
return { call('HLEN', P .. 'o'), found[1] + found[2], found[3], found[4], oldest and int(oldest) or false }

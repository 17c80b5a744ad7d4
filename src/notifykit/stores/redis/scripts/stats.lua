-- ARGV: now, at most how many deliveries of a lane are counted.
-- Returns how many events and deliveries wait, are being sent and are dead, since when the oldest is due, and of each
-- lane its name, how many wait, and since when the oldest is due.
local now, most, oldest = tonumber(ARGV[1]), tonumber(ARGV[2]), nil

local function consider(due)
  due = tonumber(due or nil)
  if due and due <= now and (not oldest or due < oldest) then
    oldest = due
  end
end

-- How many wait in a lane; each group has at least one.
local function waiting(lane)
  local number = 0
  for _, tenant in ipairs(call('ZRANGE', P .. 't:' .. lane, 0, most - 1)) do
    for _, subscriber in ipairs(call('ZRANGE', P .. 's:' .. pair(lane, tenant), 0, most - 1)) do
      number = number + call('ZCARD', group_key(lane, tenant, subscriber))
      if number >= most then
        return most
      end
    end
  end
  return number
end

local lanes = {}
for _, lane in ipairs(call('SMEMBERS', P .. 'lanes')) do
  local number = waiting(lane)
  if number > 0 then
    local all = oldest
    oldest = nil
    consider(first_due(P .. 't:' .. lane))
    consider(first_due(P .. 'hd:' .. lane))
    lanes[#lanes + 1] = lane
    lanes[#lanes + 1] = number
    lanes[#lanes + 1] = oldest and int(oldest) or false
    consider(all)
  end
end
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
return { call('HLEN', P .. 'o'), found[1] + found[2], found[3], found[4], oldest and int(oldest) or false, lanes }

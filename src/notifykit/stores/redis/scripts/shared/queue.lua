-- What waits for its time, by lane, tenant and subscriber.  Three levels of sorted sets, each scored with when the
-- first item below it is due: t:LANE of tenants, s:LANE/TENANT of subscribers, g:LANE/TENANT/SUBSCRIBER of deliveries.
-- A lane is the rank of its priority and its channel ("1webhook"); events wait in e0, e1 and e2, without subscribers.
local lanes_known, touched = {}, {}

local function group_key(lane, tenant, subscriber)
  local key = pair(lane, tenant)
  return P .. 'g:' .. (subscriber and pair(key, subscriber) or key)
end

-- Note that the first item of a group may be due later than before.
local function touch(lane, tenant, subscriber)
  local tenants = touched[lane] or {}
  touched[lane] = tenants
  local subscribers = tenants[tenant] or {}
  tenants[tenant] = subscribers
  if subscriber then
    subscribers[subscriber] = true
  end
end

local function place(lane, tenant, subscriber, id, due)
  call('ZADD', group_key(lane, tenant, subscriber), due, id)
  if subscriber then
    call('ZADD', P .. 's:' .. pair(lane, tenant), 'LT', due, subscriber)
    if not lanes_known[lane] then
      lanes_known[lane] = true
      call('SADD', P .. 'lanes', lane)
    end
  end
  call('ZADD', P .. 't:' .. lane, 'LT', due, tenant)
end

local function unplace(lane, tenant, subscriber, id)
  if call('ZREM', group_key(lane, tenant, subscriber), id) == 1 then
    touch(lane, tenant, subscriber)
  end
end

local function first_due(key)
  return call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
end

local function rescore(key, member, due)
  if due then
    call('ZADD', key, due, member)
  else
    call('ZREM', key, member)
  end
end

-- Bring the scores of touched groups and tenants up to date.
local function refresh()
  for lane, tenants in pairs(touched) do
    for tenant, subscribers in pairs(tenants) do
      local key = P .. 's:' .. pair(lane, tenant)
      if next(subscribers) then
        for subscriber in pairs(subscribers) do
          rescore(key, subscriber, first_due(group_key(lane, tenant, subscriber)))
        end
      else
        key = group_key(lane, tenant)
      end
      rescore(P .. 't:' .. lane, tenant, first_due(key))
    end
  end
end

-- Dealing: round tenants, and round each tenant's subscribers.

local function next_item(group, now)
  if group.at > #group.ids then
    if group.is_last then
      return nil
    end
    group.ids = call('ZRANGEBYSCORE', group.key, '-inf', now, 'LIMIT', group.from, group.size)
    group.is_last = #group.ids < group.size
    group.from, group.size, group.at = group.from + group.size, math.min(group.size * 4, 256), 2
    return group.ids[1]
  end
  group.at = group.at + 1
  return group.ids[group.at - 1]
end

local function group_at(key)
  return { key = key, ids = {}, at = 1, from = 0, size = 4 }
end

-- The next subscriber of a tenant with something due, of those that are meant.
local function next_group(tenant, now, is_meant)
  if tenant.is_flat then
    local group = tenant.groups == nil and group_at(group_key(tenant.lane, tenant.name))
    tenant.groups = {}
    return group
  end
  while true do
    if tenant.at > #tenant.groups then
      if tenant.is_last then
        return nil
      end
      tenant.groups = call('ZRANGEBYSCORE', tenant.key, '-inf', now, 'LIMIT', tenant.from, 64)
      tenant.is_last = #tenant.groups < 64
      tenant.from, tenant.at = tenant.from + 64, 1
    else
      local subscriber = tenant.groups[tenant.at]
      tenant.at = tenant.at + 1
      if is_meant(subscriber) then
        return group_at(group_key(tenant.lane, tenant.name, subscriber))
      end
    end
  end
end

local function next_of(tenant, now, is_meant)
  while tenant.has_more do
    local group = next_group(tenant, now, is_meant)
    if not group then
      tenant.has_more = false
      break
    end
    local id = next_item(group, now)
    if id then
      table.insert(tenant.turns, group)
      return id
    end
  end
  while #tenant.turns > 0 do
    local group = table.remove(tenant.turns, 1)
    local id = next_item(group, now)
    if id then
      table.insert(tenant.turns, group)
      return id
    end
  end
  return nil
end

-- Up to `limit` items of a lane that are due; they stay where they are.
local function deal(lane, limit, now, excluded_tenants, is_meant)
  local dealt, from, is_last = {}, 0, false
  local is_flat = string.sub(lane, 1, 1) == 'e'
  now = int(now)
  while #dealt < limit and not is_last do
    local turns = {}
    while #turns < limit and not is_last do
      local names = call('ZRANGEBYSCORE', P .. 't:' .. lane, '-inf', now, 'LIMIT', from, limit)
      from, is_last = from + limit, #names < limit
      for _, name in ipairs(names) do
        if not excluded_tenants[name] then
          table.insert(turns, {
            lane = lane, name = name, key = P .. 's:' .. pair(lane, name), is_flat = is_flat,
            groups = not is_flat and {} or nil, at = 1, from = 0, has_more = true, turns = {},
          })
        end
      end
    end
    while #turns > 0 and #dealt < limit do
      local left = {}
      for _, tenant in ipairs(turns) do
        if #dealt == limit then
          break
        end
        local id = next_of(tenant, now, is_meant)
        if id then
          dealt[#dealt + 1] = id
          left[#left + 1] = tenant
        end
      end
      turns = left
    end
  end
  return dealt
end

-- FIFO groups: a sorted set of ids, those that are handed out with -1, which sort first.  The head may be handed out.
local function head_of(key)
  local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return first[1] and tonumber(first[2]) == 0 and first[1] or nil
end

-- What waits for its time, by lane, tenant and subscriber.  Three levels of sorted sets, each scored with when the
-- first item below it is due: t:LANE of tenants, s:LANE/TENANT of subscribers, g:LANE/TENANT/SUBSCRIBER of deliveries.
-- A lane is the rank of its priority and its channel ("1webhook"); events wait in e0, e1 and e2, without subscribers.
local touched = {}

local function group_key(lane, tenant, subscriber)
  local key = pair(lane, tenant)
  return P .. 'g:' .. (subscriber and pair(key, subscriber) or key)
end

-- What is known of a tenant's groups: when the first new item is due, or true if a group must be looked at.
local function groups_of(lane, tenant)
  local tenants = touched[lane]
  if not tenants then
    tenants = {}
    touched[lane] = tenants
  end
  local groups = tenants[tenant]
  if not groups then
    groups = {}
    tenants[tenant] = groups
  end
  return groups
end

-- Note that the first item of a group may be due later than before.
local function touch(lane, tenant, subscriber)
  groups_of(lane, tenant)[subscriber or ''] = true
end

local function place(lane, tenant, subscriber, id, due)
  zset(group_key(lane, tenant, subscriber), id, due)
  local groups, group = groups_of(lane, tenant), subscriber or ''
  if groups[group] ~= true and due < (groups[group] or math.huge) then
    groups[group] = due
  end
end

local function unplace(lane, tenant, subscriber, id)
  zset(group_key(lane, tenant, subscriber), id, false)
  touch(lane, tenant, subscriber)
end

local function first_due(key)
  return call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
end

-- Bring the score of one member up to date, from what is due first below it.
local function rescore(key, member, below)
  local due = first_due(below)
  if due then
    call('ZADD', key, due, member)
  else
    call('ZREM', key, member)
  end
end

-- Bring the scores of touched groups and tenants up to date; what they hold has been written.
local function refresh()
  for lane, tenants in pairs(touched) do
    local is_flat, sooner = string.sub(lane, 1, 1) == 'e', {}
    for tenant, groups in pairs(tenants) do
      local key, low, must_look = P .. 's:' .. pair(lane, tenant), math.huge, false
      local added = {}
      for group, due in pairs(groups) do
        if due == true then
          must_look = true
          if not is_flat then
            rescore(key, group, group_key(lane, tenant, group))
          end
        else
          low = math.min(low, due)
          added[#added + 1] = due
          added[#added + 1] = group
        end
      end
      if #added > 0 and not is_flat then
        for first = 1, #added, 1000 do
          call('ZADD', key, 'LT', unpack(added, first, math.min(first + 999, #added)))
        end
      end
      if must_look then
        rescore(P .. 't:' .. lane, tenant, is_flat and group_key(lane, tenant) or key)
      else
        sooner[#sooner + 1] = low
        sooner[#sooner + 1] = tenant
      end
    end
    for first = 1, #sooner, 1000 do
      call('ZADD', P .. 't:' .. lane, 'LT', unpack(sooner, first, math.min(first + 999, #sooner)))
    end
    if not is_flat then
      call('SADD', P .. 'lanes', lane)
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

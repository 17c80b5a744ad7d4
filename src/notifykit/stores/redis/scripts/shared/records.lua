-- Configuration records: r:KIND/TENANT holds {version, JSON, extra, match keys}, ri: their ids, rs: the subscriptions of
-- a subscriber, m: the subscriptions with a match key, v the versions of tenants.

local function record_of(kind, tenant, id)
  return unpacked(call('HGET', P .. 'r:' .. pair(kind, tenant), id))
end

local function raise_version(tenant)
  call('HINCRBY', P .. 'v', tenant, 1)
end

local function index_record(command, kind, tenant, id, record)
  local _, _, extra, keys = unpack(record)
  for _, key in ipairs(keys) do
    if command == 'ZADD' then
      call('ZADD', P .. 'm:' .. pair(tenant, key), 0, id)
    else
      call('ZREM', P .. 'm:' .. pair(tenant, key), id)
    end
  end
  if kind == 'subscription' then
    if command == 'ZADD' then
      call('ZADD', P .. 'rs:' .. pair(tenant, extra), 0, id)
    else
      call('ZREM', P .. 'rs:' .. pair(tenant, extra), id)
    end
  end
end

local function put_record(kind, tenant, id, record)
  local old = record_of(kind, tenant, id)
  if old then
    index_record('ZREM', kind, tenant, id, old)
  end
  call('HSET', P .. 'r:' .. pair(kind, tenant), id, cmsgpack.pack(record))
  call('ZADD', P .. 'ri:' .. pair(kind, tenant), 0, id)
  index_record('ZADD', kind, tenant, id, record)
end

local function drop_record(kind, tenant, id)
  local old = record_of(kind, tenant, id)
  if not old then
    return false
  end
  index_record('ZREM', kind, tenant, id, old)
  call('HDEL', P .. 'r:' .. pair(kind, tenant), id)
  call('ZREM', P .. 'ri:' .. pair(kind, tenant), id)
  return true
end

local function drop_subscriptions(tenant, subscriber)
  local ids = call('ZRANGE', P .. 'rs:' .. pair(tenant, subscriber), 0, -1)
  for _, id in ipairs(ids) do
    drop_record('subscription', tenant, id)
  end
  return #ids
end

-- Records as they are stored, each as its id and its JSON.
local function read_records(kind, tenant, ids)
  local found = {}
  for at, raw in ipairs(hmget(P .. 'r:' .. pair(kind, tenant), ids)) do
    if raw then
      local record = unpacked(raw)
      found[#found + 1] = { ids[at], record and record[2] }
    end
  end
  return found
end

-- End what waits for a subscriber.
local function cancel_all(tenant, subscriber, reason, now)
  local ids = call('ZRANGE', P .. 'so:' .. pair(tenant, subscriber), 0, -1)
  fetch(ids)
  for _, id in ipairs(ids) do
    local row = row_of(id)
    if row and WAITS[row[STATE]] then
      finish(id, row, 'cancelled', reason, now)
    end
  end
end

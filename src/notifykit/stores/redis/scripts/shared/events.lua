-- Events: e holds them as Python wrote them (a line of JSON, then the body), o what is not planned yet.
local U_TENANT, U_RANK, U_ORDER, U_DUE, U_AT, U_FENCE, U_CURSOR, U_TYPE, U_PUBLISHED = 1, 2, 3, 4, 5, 6, 7, 8, 9

local function unplanned(id)
  return unpacked(hget(P .. 'o', id))
end

local function save_unplanned(id, its)
  hset(P .. 'o', id, cmsgpack.pack(its))
end

-- The first line of an event, read.
local function described(raw)
  local ends = raw and string.find(raw, '\n', 1, true)
  if not ends then
    return nil
  end
  local read, line = pcall(cjson.decode, string.sub(raw, 1, ends - 1))
  return read and line or nil
end

local function offer_event(id, its)
  place('e' .. its[U_RANK], its[U_TENANT], nil, id, its[U_AT])
end

-- Let an event be taken from its time on, once it is at the head of its FIFO group.
local function wait_for_planning(id, its)
  touch('e' .. its[U_RANK], its[U_TENANT])
  if not its[U_ORDER] then
    offer_event(id, its)
    return
  end
  local key = P .. 'fe:' .. pair(its[U_TENANT], its[U_ORDER])
  local before = head_of(key)
  call('ZADD', key, 0, id)
  local head = head_of(key)
  if before and before ~= head then
    local other = unplanned(before)
    unplace('e' .. other[U_RANK], other[U_TENANT], nil, before)
  end
  if head == id then
    offer_event(id, its)
  end
end

-- The texts of events that were read, `false` for those that are not stored.
local texts = {}

-- Store an event from what Python says of it; return what is known already of it or its idempotency key.
local function append(meta, raw)
  local id, tenant, key = meta[1], meta[2], meta[6]
  if key then
    local held = unpacked(hget(P .. 'k', pair(tenant, key)))
    if held then
      return held
    end
  end
  local stored = texts[id]
  if stored == nil then
    stored = call('HGET', P .. 'e', id)
  end
  if stored then
    local line = described(stored)
    return { id, line and line[16] ~= cjson.null and line[16] or false }
  end
  if key then
    hset(P .. 'k', pair(tenant, key), cmsgpack.pack({ id, meta[7] }))
    zset(P .. 'kp', pair(tenant, key), meta[9])
  end
  texts[id] = raw
  hset(P .. 'e', id, raw)
  zset(P .. 'ie:' .. tenant, id, 0)
  local its = { tenant, meta[3], meta[4], meta[5], meta[5], 0, false, meta[8], meta[9] }
  save_unplanned(id, its)
  if its[U_ORDER] then
    wait_for_planning(id, its)
  else
    place('e' .. its[U_RANK], tenant, nil, id, its[U_AT])
  end
  return nil
end

-- Whether a delivery, or an item of a digest, needs the event: their ids begin as the event's.
local function is_needed(tenant, id)
  local first = 'dlv_' .. string.sub(id, 5)
  for _, index in ipairs({ 'io:', 'id:', 'if:', 'ic:' }) do
    local key = P .. index .. tenant
    if #call('ZRANGEBYLEX', key, '[' .. first, '(' .. first .. '~', 'LIMIT', 0, 1) > 0 then
      return true
    end
  end
  return false
end

-- Let a purge find the event if nothing needs it any more; what is put off must have been written.
local function release(tenant, id, published)
  if is_needed(tenant, id) then
    return
  end
  if not published then
    if hget(P .. 'o', id) then
      return
    end
    local line = described(call('HGET', P .. 'e', id))
    published = line and line[10]
  end
  if published then
    zset(P .. 'idle', id, published)
  end
end

-- Take an event out of the outbox; the next one of its FIFO group becomes the head.
local function planned(id, its)
  hset(P .. 'o', id, false)
  unplace('e' .. its[U_RANK], its[U_TENANT], nil, id)
  if its[U_ORDER] then
    local key = P .. 'fe:' .. pair(its[U_TENANT], its[U_ORDER])
    call('ZREM', key, id)
    local head = head_of(key)
    if head then
      offer_event(head, unplanned(head))
    end
  end
end

local function forget_event(tenant, id)
  hset(P .. 'e', id, false)
  zset(P .. 'ie:' .. tenant, id, false)
  zset(P .. 'idle', id, false)
end

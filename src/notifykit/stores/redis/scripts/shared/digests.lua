-- Digests: x holds them, xk which one has a key, x: the items of each, c the items themselves, ic: those of a tenant.
local X_TENANT, X_KEY, X_CLOSES, X_BY, X_MOST, X_LAST, X_IS_OPEN = 1, 2, 3, 4, 5, 6, 7
local I_DIGEST, I_EVENT, I_AT, I_TYPE = 1, 2, 3, 4

local function digest_of(id)
  return id and unpacked(hget(P .. 'x', id))
end

local function save_digest(id, digest)
  hset(P .. 'x', id, cmsgpack.pack(digest))
end

local function close_digest(id, row, now)
  local digest = row[DIGEST] and digest_of(id)
  if digest and digest[X_IS_OPEN] then
    digest[X_IS_OPEN], digest[X_LAST] = false, math.max(digest[X_LAST], now)
    save_digest(id, digest)
  end
end

local function finish(id, row, state, reason, now)
  local old = row[STATE]
  close_digest(id, row, now)
  row[STATE], row[REASON], row[DUE], row[FINISHED] = state, reason, false, now
  store(id, row, old)
end

local function withdraw_item(id, item, tenant)
  hset(P .. 'c', id, false)
  zset(P .. 'x:' .. item[I_DIGEST], id, false)
  zset(P .. 'ic:' .. tenant, id, false)
end

-- Delete the receipts of a delivery, and what finds it by its references; webhooks have neither.
local function forget_receipts(id, row)
  if row[RECEIPT] then
    call('DEL', P .. 'p:' .. id)
  end
  for line in string.gmatch(row[ADDRESS] and hget(P .. 'a', id) or '', '[^\n]+') do
    local read, attempt = pcall(cjson.decode, line)
    local reference = read and attempt[10]
    if type(reference) == 'string' and hget(P .. 'rf', reference) == id then
      hset(P .. 'rf', reference, false)
    end
  end
end

-- Delete a delivery with its attempts, its receipts and its digest; the caller releases the events that it returns.
local function forget(id, row)
  forget_receipts(id, row)
  hset(P .. 'd', id, false)
  hset(P .. 'a', id, false)
  rows[id], changed[id] = false, nil
  count(row[STATE], -1)
  local class, its = CLASS[row[STATE]], pair(row[TENANT], row[SUBSCRIBER])
  zset(P .. class .. row[TENANT], id, false)
  zset(P .. (class == 'io:' and 'so:' or 'se:') .. its, id, false)
  zset(P .. 'ended', id, false)
  local events, digest = { row[EVENT] }, row[DIGEST] and digest_of(id)
  if digest then
    for _, item_id in ipairs(call('ZRANGE', P .. 'x:' .. id, 0, -1)) do
      local item = unpacked(hget(P .. 'c', item_id))
      withdraw_item(item_id, item, row[TENANT])
      events[#events + 1] = item[I_EVENT]
    end
    hset(P .. 'x', id, false)
    local key = pair(digest[X_TENANT], digest[X_KEY])
    if hget(P .. 'xk', key) == id then
      hset(P .. 'xk', key, false)
    end
  end
  return events
end

-- The digest that collects an entry, and whether it is new, and whether the delivery is sent ahead of it.
local function join_digest(tenant, entry, now)
  local id, key, _, closes, by, first, quiet_since, most = unpack(entry)
  local held_id = hget(P .. 'xk', pair(tenant, key))
  local held = digest_of(held_id)
  if held and held[X_IS_OPEN] then
    held[X_CLOSES] = math.min(held[X_BY], math.max(held[X_CLOSES], closes))
    held[X_LAST] = math.max(held[X_LAST], now)
    save_digest(held_id, held)
    return held_id, held, false, false
  end
  local was_quiet = not held or not quiet_since or held[X_LAST] <= quiet_since
  local digest = { tenant, key, closes, by, most, now, true }
  save_digest(id, digest)
  hset(P .. 'xk', pair(tenant, key), id)
  return id, digest, true, first and was_quiet
end

-- ARGV: now, how long one waits at first, what is to be known of each receipt, then the receipts.  Returns (place,
-- delivery) of those whose delivery is known.
local now, first_look, metas, found = tonumber(ARGV[1]), tonumber(ARGV[2]), cjson.decode(ARGV[3]), {}

local function put(meta, line, id, row)
  local key = pair(meta[M_PROVIDER], meta[M_ID])
  call('ZREM', P .. 'pl', key)
  call('HDEL', P .. 'pw', key)
  local is_new = call('HSETNX', P .. 'p:' .. id, key, line) == 1
  if is_new and (not row[RECEIPT] or row[RECEIPT][2] < meta[M_RANK]) then
    row[RECEIPT], changed[id] = { meta[M_KIND], meta[M_RANK] }, true
  end
  if meta[M_CONFIRMS] and row[STATE] == 'dead' and row[REASON] == 'uncertain' then
    row[STATE], row[REASON] = 'delivered', false
    store(id, row, 'dead')
  end
end

local function let_wait(meta, line)
  local key = pair(meta[M_PROVIDER], meta[M_ID])
  local its = cmsgpack.pack({ line, now, meta[M_DELIVERY], meta[M_REFERENCE] })
  if call('HSETNX', P .. 'pw', key, its) == 1 then
    call('ZADD', P .. 'pl', now + first_look, key)
  end
end

for at, meta in ipairs(metas) do
  local id, row = recipient_of(meta[M_DELIVERY], meta[M_REFERENCE])
  if row then
    put(meta, ARGV[at + 3], id, row)
    found[#found + 1] = { at - 1, answer(id, row) }
  else
    let_wait(meta, ARGV[at + 3])
  end
end
flush()
return found

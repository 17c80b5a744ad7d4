-- Deliveries: d holds their rows, n how many there are in each state, a their attempts (a line of JSON each), p: the
-- receipts of each, rf whose a reference is.
-- Indexes: io:, id:, if: of a tenant's open, delivered and otherwise ended ones; so:, se: of a subscriber's open and
-- ended ones; ended by the time of their end; leases by the time at which they run out; h: of a lane's deliveries that
-- are handed over, by the end of their hold; handed the same of all lanes, by when they were due.
local STATE, DUE, FENCE, TRIES, ATTEMPTS, ABANDONED, GENERATION, REASON = 1, 2, 3, 4, 5, 6, 7, 8
local WORKER, CLAIMED, LEASE, FINISHED, TENANT, SUBSCRIBER, CHANNEL, RANK = 9, 10, 11, 12, 13, 14, 15, 16
local ORDER, EVENT, TYPE, CREATED, EXPIRES, SUBSCRIPTION, ADDRESS, DIGEST = 17, 18, 19, 20, 21, 22, 23, 24
local RECEIPT = 25 -- the kind of the strongest one, and its rank
local COLUMNS = 25
local HANDED = 26 -- when it was due, of a delivery that is handed over: DUE is the end of its hold

local WAITS = { pending = true, held = true }
local CLASS = {
  pending = 'io:', held = 'io:', sending = 'io:', delivered = 'id:',
  dead = 'if:', cancelled = 'if:', expired = 'if:', suppressed = 'if:',
}
local rows, changed, tally = {}, {}, {}

-- Read rows that will be needed.
local function fetch(ids)
  local missing = {}
  for _, id in ipairs(ids) do
    if rows[id] == nil then
      missing[#missing + 1] = id
      rows[id] = false
    end
  end
  for at, raw in ipairs(hmget(P .. 'd', missing)) do
    rows[missing[at]] = unpacked(raw)
  end
end

local function row_of(id)
  if rows[id] == nil then
    fetch({ id })
  end
  return rows[id]
end

local function lane_of(row)
  return row[RANK] .. row[CHANNEL]
end

local function withdraw(id, row)
  unplace(lane_of(row), row[TENANT], row[SUBSCRIBER], id)
end

local function offer(id, row)
  place(lane_of(row), row[TENANT], row[SUBSCRIBER], id, row[DUE])
end

local function count(state, number)
  tally[state] = (tally[state] or 0) + number
end

-- Offer a delivery to claims if it waits; with an ordering key, offer the head of its FIFO group.
local function queue(id, row, old)
  if not row[ORDER] then
    if WAITS[row[STATE]] then
      if WAITS[old] then
        touch(lane_of(row), row[TENANT], row[SUBSCRIBER])
      end
      offer(id, row)
    elseif WAITS[old] then
      withdraw(id, row)
    end
    return
  end
  local key = P .. 'f:' .. pair(pair(row[TENANT], row[SUBSCRIBER]), row[ORDER])
  local before = head_of(key)
  if CLASS[row[STATE]] ~= 'io:' then
    call('ZREM', key, id)
  else
    call('ZADD', key, row[STATE] == 'sending' and -1 or 0, id)
  end
  local head = head_of(key)
  if before and before ~= head then
    withdraw(before, row_of(before))
  end
  if head and (head ~= before or head == id) then
    local its = row_of(head)
    touch(lane_of(its), its[TENANT], its[SUBSCRIBER])
    offer(head, its)
  end
end

-- Keep a row that has changed; `old` is the state that it had, nil for a new one.
local function store(id, row, old)
  local state, tenant = row[STATE], row[TENANT]
  rows[id], changed[id] = row, true
  if row[HANDED] then
    if not WAITS[state] then
      row[DUE] = row[HANDED]
    end
    row[HANDED] = false
    zset(P .. 'h:' .. lane_of(row), id, false)
    zset(P .. 'handed', id, false)
  end
  if old ~= state then
    count(state, 1)
    if old then
      count(old, -1)
    end
    if old == 'sending' then
      zset(P .. 'leases', id, false)
    elseif state == 'sending' then
      zset(P .. 'leases', id, row[LEASE])
    end
    local before, after = old and CLASS[old], CLASS[state]
    if before ~= after then
      if before then
        zset(P .. before .. tenant, id, false)
      end
      zset(P .. after .. tenant, id, 0)
      local its = pair(tenant, row[SUBSCRIBER])
      if before then
        zset(P .. (before == 'io:' and 'so:' or 'se:') .. its, id, false)
      end
      zset(P .. (after == 'io:' and 'so:' or 'se:') .. its, id, 0)
      if after ~= 'io:' then
        zset(P .. 'ended', id, row[FINISHED])
      elseif before then
        zset(P .. 'ended', id, false)
      end
    end
  end
  queue(id, row, old)
end

-- Make a delivery wait for its hold.
local function hand_over(id, row, until_)
  row[HANDED], row[DUE], changed[id] = row[HANDED] or row[DUE], until_, true
  zset(P .. 'h:' .. lane_of(row), id, until_)
  zset(P .. 'handed', id, row[HANDED])
  queue(id, row, row[STATE])
end

-- Whether a delivery is the head of its FIFO group, or has none.
local function is_first(id, row)
  return not row[ORDER] or head_of(P .. 'f:' .. pair(pair(row[TENANT], row[SUBSCRIBER]), row[ORDER])) == id
end

-- Write what has changed: at the end of every script that changes deliveries or events.
local function flush()
  for id in pairs(changed) do
    hset(P .. 'd', id, cmsgpack.pack(rows[id]))
  end
  changed = {}
  write_all()
  for state, number in pairs(tally) do
    if number ~= 0 then
      call('HINCRBY', P .. 'n', state, number)
    end
  end
  tally = {}
  refresh()
  touched = {}
end

local function log_attempt(id, row, line, reference)
  local before = row[ATTEMPTS] > 0 and hget(P .. 'a', id)
  hset(P .. 'a', id, before and before .. '\n' .. line or line)
  if reference then
    hset(P .. 'rf', reference, id)
  end
end

-- A row as an answer.
local function answer(id, row)
  local its = { id }
  for column = 1, COLUMNS do
    its[column + 1] = row[column]
  end
  its[DUE + 1] = row[HANDED] or row[DUE]
  its[RECEIPT + 1] = row[RECEIPT] and row[RECEIPT][1]
  return its
end

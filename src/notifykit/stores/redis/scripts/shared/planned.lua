-- Planned deliveries, and what became of those that were claimed.
local N_ID, N_TENANT, N_SUBSCRIPTION, N_SUBSCRIBER, N_CHANNEL, N_RANK, N_STATE = 1, 2, 3, 4, 5, 6, 7
local N_REASON, N_DUE, N_EXPIRES, N_ORDER, N_ADDRESS, N_DIGEST = 8, 9, 10, 11, 12, 13
local R_ID, R_FENCE, R_STATE, R_REASON, R_DUE, R_AT, R_NUMBER, R_LINE, R_EVENT, R_DIGEST, R_REFERENCE =
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11

-- The row of a planned delivery; one in state "sending" is leased to the worker.
local function row_from(new, event_id, event_type, now, until_, worker)
  local state = new[N_STATE]
  local has_ended, is_sending = CLASS[state] ~= 'io:', state == 'sending'
  return {
    state, not has_ended and new[N_DUE], is_sending and 1 or 0, 0, 0, 0, 0, new[N_REASON],
    is_sending and worker or '', is_sending and now or 0, is_sending and until_ or 0, has_ended and now,
    new[N_TENANT], new[N_SUBSCRIBER], new[N_CHANNEL], new[N_RANK], new[N_ORDER], event_id, event_type,
    is_sending and new[N_DUE] or now, new[N_EXPIRES], new[N_SUBSCRIPTION], new[N_ADDRESS],
    new[N_DIGEST] and new[N_DIGEST][3], false,
  }
end

-- Have a digest collect a delivery; return whether it opens the digest and is sent ahead of it instead.
local function collect(new, event_id, event_type, now)
  local id, digest, is_new, goes_ahead = join_digest(new[N_TENANT], new[N_DIGEST], now)
  if is_new then
    local carrier = { unpack(new, 1, N_DIGEST) }
    carrier[N_STATE], carrier[N_REASON], carrier[N_DUE] = 'held', new[N_DIGEST][9], digest[X_CLOSES]
    carrier[N_EXPIRES], carrier[N_ORDER] = false, false
    store(id, row_from(carrier, event_id, event_type, now), nil)
  else
    local row = row_of(id)
    if row[DUE] ~= digest[X_CLOSES] then
      row[DUE] = digest[X_CLOSES]
      store(id, row, row[STATE])
    end
  end
  if not goes_ahead then
    hset(P .. 'c', new[N_ID], cmsgpack.pack({ id, event_id, now, event_type }))
    zset(P .. 'x:' .. id, new[N_ID], 0)
    zset(P .. 'ic:' .. new[N_TENANT], new[N_ID], 0)
  end
  return goes_ahead
end

local function settle_collected(new, event_id, event_type, now)
  if row_of(new[N_ID]) or hget(P .. 'c', new[N_ID]) then
    return
  end
  if collect(new, event_id, event_type, now) then
    new[N_STATE], new[N_REASON] = 'pending', false
    store(new[N_ID], row_from(new, event_id, event_type, now), nil)
  end
end

-- Move a claimed delivery into a digest.
local function collect_claimed(id, row, entry, now)
  local new = {
    id, row[TENANT], row[SUBSCRIPTION], row[SUBSCRIBER], row[CHANNEL], row[RANK], 'held', false, now, false, false,
    row[ADDRESS], entry,
  }
  finish(id, row, 'cancelled', false, now)
  forget(id, row)
  entry[6] = false
  collect(new, row[EVENT], row[TYPE], now)
end

-- Write a record to the row of a delivery that is being sent; `old` is nil if the row is not stored yet.
local function apply(record, row, old)
  local id = record[R_ID]
  if record[R_LINE] then
    log_attempt(id, row, record[R_LINE], record[R_REFERENCE])
    row[ATTEMPTS], row[TRIES] = record[R_NUMBER], row[TRIES] + 1
  end
  row[REASON] = record[R_REASON]
  if CLASS[record[R_STATE]] ~= 'io:' then
    close_digest(id, row, record[R_AT])
    row[DUE], row[FINISHED] = false, record[R_AT]
  else
    row[DUE] = record[R_DUE] or record[R_AT]
  end
  row[STATE] = record[R_STATE]
  store(id, row, old)
end

-- The event that a record brings; its text is an argument of the script.
local function append_brought(record)
  if record[R_EVENT] then
    append(record[R_EVENT][1], ARGV[record[R_EVENT][2]])
    return true
  end
  return false
end

-- Write what became of a claimed delivery; return whether its fence was right, and whether there is new work.
local function write(record)
  local row = row_of(record[R_ID])
  if not row or row[STATE] ~= 'sending' or row[FENCE] ~= record[R_FENCE] then
    return false, false
  end
  if record[R_DIGEST] then
    collect_claimed(record[R_ID], row, record[R_DIGEST], record[R_AT])
    return true, false
  end
  apply(record, row, 'sending')
  return true, append_brought(record)
end

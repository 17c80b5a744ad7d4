-- ARGV: tenant, recipient, now, how the keys of their buckets begin, then of each event that names them: id, the line
-- as it was read, the line to write, whether nobody else is addressed, whether its audience has changed, and its body,
-- which is empty if it stays as it is.  Returns how many rows were deleted or changed, or -1 if an
-- event is another by now.
local tenant, recipient, now, caps = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

for at = 5, #ARGV, 6 do
  local raw = call('HGET', P .. 'e', ARGV[at])
  if not raw or string.sub(raw, 1, #ARGV[at + 1] + 1) ~= ARGV[at + 1] .. '\n' then
    return -1
  end
end

local erased = drop_subscriptions(tenant, recipient) + (drop_record('recipient', tenant, recipient) and 1 or 0)
raise_version(tenant)

local events = {}
for _, index in ipairs({ 'so:', 'se:' }) do
  for _, id in ipairs(call('ZRANGE', P .. index .. pair(tenant, recipient), 0, -1)) do
    local row = row_of(id)
    if row then
      if CLASS[row[STATE]] == 'io:' then
        finish(id, row, 'cancelled', false, now)
      end
      erased = erased + 1 + row[ATTEMPTS]
      for _, event_id in ipairs(forget(id, row)) do
        events[event_id] = true
      end
    end
  end
end
flush()
for event_id in pairs(events) do
  release(tenant, event_id)
end

local buckets = { pair(tenant, recipient) }
local theirs = pair(tenant, caps)
for _, name in ipairs(call('ZRANGEBYLEX', P .. 'capnames', '[' .. theirs, '(' .. theirs .. '\255')) do
  buckets[#buckets + 1] = name
end
for _, name in ipairs(buckets) do
  if call('HDEL', P .. 'b', name) == 1 then
    zset(P .. 'caps', name, false)
    zset(P .. 'capnames', name, false)
    erased = erased + 1
  end
end

for at = 5, #ARGV, 6 do
  local id, line, is_alone, is_retold = ARGV[at], ARGV[at + 2], ARGV[at + 3] == '1', ARGV[at + 4] == '1'
  local its = unplanned(id)
  if is_alone and not is_needed(tenant, id) then
    if its then
      planned(id, its)
    end
    local key = cjson.decode(ARGV[at + 1])[15]
    if key ~= cjson.null then
      hset(P .. 'k', pair(tenant, key), false)
      zset(P .. 'kp', pair(tenant, key), false)
    end
    forget_event(tenant, id)
  else
    local raw = call('HGET', P .. 'e', id)
    local body = ARGV[at + 5] == '' and string.sub(raw, #ARGV[at + 1] + 1) or '\n' .. ARGV[at + 5]
    hset(P .. 'e', id, line .. body)
    if its and is_retold then -- planners that have it must take it again
      its[U_FENCE], its[U_AT] = its[U_FENCE] + 1, math.max(now, its[U_DUE])
      save_unplanned(id, its)
      wait_for_planning(id, its)
    end
  end
  erased = erased + 1
end
flush()
return erased

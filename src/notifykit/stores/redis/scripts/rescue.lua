-- ARGV: the limit, now, how often a delivery may be abandoned.  Returns the deliveries.
local limit, now, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local ids = call('ZRANGEBYSCORE', P .. 'leases', '-inf', '(' .. int(now), 'LIMIT', 0, limit)
local rescued = {}
fetch(ids)
for _, id in ipairs(ids) do
  local row = row_of(id)
  if row and row[STATE] == 'sending' then
    local number = row[ATTEMPTS] + 1
    local is_poison = row[ABANDONED] + 1 >= most
    log_attempt(id, row, '[' .. table.concat({
      int(number), int(row[CLAIMED]), int(now - row[CLAIMED]), '"abandoned"', '"lease_expired"', 'null',
      is_poison and 'null' or int(now), 'null', cjson.encode(row[WORKER]), 'null', 'null', 'null',
    }, ',') .. ']')
    row[FENCE], row[ATTEMPTS], row[ABANDONED] = row[FENCE] + 1, number, row[ABANDONED] + 1
    if is_poison then
      finish(id, row, 'dead', 'quarantined', now)
    else
      row[STATE], row[DUE] = 'pending', now
      store(id, row, 'sending')
    end
    rescued[#rescued + 1] = answer(id, row)
  else
    zset(P .. 'leases', id, false)
  end
end
flush()
if #rescued > 0 then
  notify()
end
return rescued

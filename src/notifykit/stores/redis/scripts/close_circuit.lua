-- ARGV: tenant, key, now.  Returns the circuit that was open.
local tenant, key, now = ARGV[1], ARGV[2], tonumber(ARGV[3])
local old = unpacked(call('HGET', P .. 'circuits', pair(tenant, key)))
if not old then
  return false
end
call('HDEL', P .. 'circuits', pair(tenant, key))
local ids = call('ZRANGE', P .. 'so:' .. pair(tenant, key), 0, -1)
fetch(ids)
for _, id in ipairs(ids) do
  local row = row_of(id)
  if row and row[STATE] == 'held' then
    row[STATE], row[REASON], row[DUE] = 'pending', false, now
    store(id, row, 'held')
  end
end
flush()
notify()
return old[2]

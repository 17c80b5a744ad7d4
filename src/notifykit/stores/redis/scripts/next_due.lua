-- Returns the version of the layout, when the next event is due, whether any work is open, and pairs of lane and time.
call('DEL', P .. 'probe') -- fails, as every write does, on a replica and when the disk is full
local event
for rank = 0, 2 do
  local due = first_due(P .. 't:e' .. rank)
  if due and (not event or tonumber(due) < tonumber(event)) then
    event = due
  end
end
local lanes = {}
for _, lane in ipairs(call('SMEMBERS', P .. 'lanes')) do
  local due = first_due(P .. 't:' .. lane)
  if due then
    lanes[#lanes + 1] = lane
    lanes[#lanes + 1] = due
  end
end
local is_open = call('HLEN', P .. 'o') > 0
for _, number in ipairs(call('HMGET', P .. 'n', 'pending', 'held', 'sending')) do
  is_open = is_open or tonumber(number or 0) > 0
end
return { call('GET', P .. 'layout'), event or false, is_open and 1 or 0, lanes }

-- ARGV: the filter, the move, now, the limit, the bound, how many to look at, whether digests are meant, the event
-- that is meant as a whole, and the reason of what is cancelled.  Returns how many were moved, whether the event was
-- cancelled, which the limit does not count, and the last id that was looked at if there may be more.
local wanted, move, now, limit = wanted_from(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local bound, most, takes_digests, event, reason = ARGV[5], tonumber(ARGV[6]), ARGV[7] == '1', ARGV[8], ARGV[9]
local is_cancelled, looked, last, freed = 0, 0, false, {}

local function move_one(id, row, item)
  if item then
    end_item(id, row, item, 'cancelled', reason, now)
  elseif move == 'cancel' then
    finish(id, row, 'cancelled', reason, now)
  elseif move == 'redrive' then
    local old = row[STATE]
    row[STATE], row[REASON], row[DUE], row[TRIES], row[ABANDONED] = 'pending', false, now, 0, 0
    row[GENERATION], row[EXPIRES], row[FINISHED] = row[GENERATION] + 1, false, false
    store(id, row, old)
  else
    local old = row[STATE]
    row[STATE], row[REASON], row[DUE] = 'pending', false, now
    store(id, row, old)
  end
end

if event ~= '' and bound == '' then
  local its = unplanned(event)
  if its and its[U_TENANT] == wanted.tenant and not (now < its[U_AT] and its[U_AT] ~= its[U_DUE]) then
    planned(event, its)
    freed[event] = its[U_TENANT]
    is_cancelled = 1
  end
end
local found = {}
for id in candidates(wanted, bound ~= '' and bound or nil, false) do
  if #found >= limit then
    break
  end
  local row, item = listed(id)
  if row and matches(row, wanted) then
    if item and move == 'cancel' or (not item and (takes_digests or not digest_of(row[DIGEST] and id))) then
      found[#found + 1] = { id, row, item }
    end
  end
  looked, last = looked + 1, id
  if looked == most then
    break
  end
end
for _, its in ipairs(found) do
  move_one(unpack(its, 1, 3))
end
flush()
for event_id, tenant in pairs(freed) do
  release(tenant, event_id)
end
write_all()
notify()
return { #found, is_cancelled, looked == most and #found < limit and last }

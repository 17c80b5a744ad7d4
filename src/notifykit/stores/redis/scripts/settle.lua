-- ARGV: now, when leases end, the worker, the settlements, then the events that records bring.  Returns the ids of the
-- events that were settled, and whether there is new work.
local now, until_, worker = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local settlements, settled, is_work = cjson.decode(ARGV[4]), {}, false

local function plan(event_id, its, deliveries, records)
  local sent = {}
  for _, record in ipairs(records) do
    sent[record[R_ID]] = record
  end
  for _, new in ipairs(deliveries) do
    local id, record = new[N_ID], sent[new[N_ID]]
    if new[N_DIGEST] then
      settle_collected(new, event_id, its[U_TYPE], now)
    elseif not row_of(id) then
      new[N_STATE] = record and 'sending' or new[N_STATE]
      local row = row_from(new, event_id, its[U_TYPE], now, until_, worker)
      if record and record[R_FENCE] == 1 and not record[R_DIGEST] then
        apply(record, row, nil) -- in one step, as most are
        is_work = append_brought(record) or is_work
        sent[id] = nil
      else
        store(id, row, nil)
      end
      is_work = is_work or row[STATE] == 'pending'
    end
  end
  for _, record in ipairs(records) do
    if sent[record[R_ID]] then
      local _, brought = write(record)
      is_work = is_work or brought
    end
  end
end

local ids, delivery_ids, unneeded = {}, {}, {}
for at, settlement in ipairs(settlements) do
  ids[at] = settlement[1]
  for _, new in ipairs(settlement[4]) do
    delivery_ids[#delivery_ids + 1] = new[N_ID]
  end
end
fetch(delivery_ids)
local outbox = hmget(P .. 'o', ids)
for at, settlement in ipairs(settlements) do
  local id, fence, cursor, deliveries, records = unpack(settlement)
  local its = unpacked(outbox[at])
  if its and its[U_FENCE] == fence then
    settled[#settled + 1] = id
    plan(id, its, deliveries, records)
    if cursor == false then
      planned(id, its)
      if #deliveries == 0 then
        unneeded[id] = its
      end
    else
      its[U_CURSOR], its[U_AT] = cursor, its[U_DUE]
      save_unplanned(id, its)
      wait_for_planning(id, its)
      is_work = true
    end
  end
end
flush()
for id, its in pairs(unneeded) do
  release(its[U_TENANT], id, its[U_PUBLISHED])
end
write_all()
if is_work then
  notify()
end
return { settled, is_work and 1 or 0 }

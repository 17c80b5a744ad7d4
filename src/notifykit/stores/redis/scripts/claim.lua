-- ARGV: the lane, the limit, now, when leases end, the worker, and which tenants, subscribers and ids.  Returns the
-- claims, each with the place of its event in the list of texts that follows.
local limit, now, until_, worker = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local which = cjson.decode(ARGV[6])
local excluded, only = set_of(which.exclude), which.only and set_of(which.only)

local function is_meant(subscriber)
  return not excluded[subscriber] and (not only or only[subscriber])
end

-- Those that are named, and due or handed over.
local function named(wanted, excluded_tenants)
  local found, seen = {}, {}
  fetch(wanted)
  for _, id in ipairs(wanted) do
    local row = row_of(id)
    if
      #found < limit and row and not seen[id] and lane_of(row) == ARGV[1] and WAITS[row[STATE]]
      and (row[HANDED] or row[DUE] <= now) and not excluded_tenants[row[TENANT]] and is_meant(row[SUBSCRIBER])
      and is_first(id, row)
    then
      found[#found + 1], seen[id] = id, true
    end
  end
  return found
end

local excluded_tenants = set_of(which.exclude_tenants)
local ids = which.ids and named(which.ids, excluded_tenants) or deal(ARGV[1], limit, now, excluded_tenants, is_meant)
fetch(ids)
local events, places = {}, {}
for _, id in ipairs(ids) do
  local row = row_of(id)
  if row and not places[row[EVENT]] then
    events[#events + 1] = row[EVENT]
    places[row[EVENT]] = #events
  end
end
local bodies, versions, claims = hmget(P .. 'e', events), {}, {}
for _, id in ipairs(ids) do
  local row = row_of(id)
  if row then
    local tenant, old = row[TENANT], row[STATE]
    versions[tenant] = versions[tenant] or call('HGET', P .. 'v', tenant) or '0'
    row[STATE], row[REASON], row[FENCE] = 'sending', false, row[FENCE] + 1
    row[WORKER], row[CLAIMED], row[LEASE] = worker, now, until_
    store(id, row, old)
    close_digest(id, row, now)
    claims[#claims + 1] = {
      id, row[FENCE], row[ATTEMPTS], row[TRIES], row[ABANDONED], tenant, row[EVENT], row[SUBSCRIPTION],
      row[SUBSCRIBER], row[ORDER], row[EXPIRES], row[ADDRESS], row[DIGEST], versions[tenant], places[row[EVENT]],
    }
  end
end
flush()
return { claims, bodies }

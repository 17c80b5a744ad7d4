-- ARGV: the lane, the limit, now, when holds end, how many may be out of the lane, of a tenant and of a subscriber, and
-- which tenants and subscribers.  Returns ids, each with its tenant and its subscriber.
local lane, limit, now, until_ = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local most, most_tenant, most_subscriber = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local which = cjson.decode(ARGV[8])
local excluded, excluded_tenants = set_of(which.exclude), set_of(which.exclude_tenants)
local tenants, subscribers = {}, {}

local function count_out(row)
  tenants[row[TENANT]] = (tenants[row[TENANT]] or 0) + 1
  subscribers[row[SUBSCRIBER]] = (subscribers[row[SUBSCRIBER]] or 0) + 1
end

local function is_meant(subscriber)
  return not excluded[subscriber] and (subscribers[subscriber] or 0) < most_subscriber
end

call('ZREMRANGEBYSCORE', P .. 'h:' .. lane, '-inf', int(now))
local out = call('ZRANGE', P .. 'h:' .. lane, 0, most)
fetch(out)
for _, id in ipairs(out) do
  local row = row_of(id)
  if row then
    count_out(row)
  end
end
for tenant, number in pairs(tenants) do
  if number >= most_tenant then
    excluded_tenants[tenant] = true
  end
end
local ids = deal(lane, math.max(math.min(limit, most - #out), 0), now, excluded_tenants, is_meant)
local tickets = {}
fetch(ids)
for _, id in ipairs(ids) do
  local row = row_of(id)
  if row and is_meant(row[SUBSCRIBER]) and (tenants[row[TENANT]] or 0) < most_tenant then
    count_out(row)
    hand_over(id, row, until_)
    tickets[#tickets + 1] = { id, row[TENANT], row[SUBSCRIBER] }
  end
end
flush()
return tickets

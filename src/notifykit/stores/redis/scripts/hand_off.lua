-- ARGV: the lane, the limit, now, when holds end, which tenants and subscribers, and how many may be out in the lane, of
-- a tenant and to a subscriber.  Returns (delivery, tenant, subscriber) of those that are handed over.
local lane, limit, now, until_ = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local which, most = cjson.decode(ARGV[5]), tonumber(ARGV[6])
local most_of_tenant, most_to_subscriber = tonumber(ARGV[7]), tonumber(ARGV[8])
local excluded, excluded_tenants = set_of(which.exclude), set_of(which.exclude_tenants)
local of_tenant, to_subscriber = {}, {}

local function may_have(tenant, subscriber)
  return (of_tenant[tenant] or 0) < most_of_tenant and (to_subscriber[subscriber] or 0) < most_to_subscriber
end

local function add(tenant, subscriber)
  of_tenant[tenant] = (of_tenant[tenant] or 0) + 1
  to_subscriber[subscriber] = (to_subscriber[subscriber] or 0) + 1
end

local held, after, first = P .. 'h:' .. lane, '(' .. int(now), first_due(P .. 't:' .. lane)
limit = math.min(limit, most - call('ZCOUNT', held, after, '+inf'))
if limit <= 0 or not first or tonumber(first) > now then
  return {}
end
for _, name in ipairs(call('ZRANGEBYSCORE', held, after, '+inf')) do
  local tenant, rest = unpair(name)
  add(tenant, (unpair(rest)))
end
for tenant, number in pairs(of_tenant) do
  excluded_tenants[tenant] = excluded_tenants[tenant] or number >= most_of_tenant
end
local ids = deal(lane, limit, now, excluded_tenants, function(subscriber)
  return not excluded[subscriber] and (to_subscriber[subscriber] or 0) < most_to_subscriber
end)
fetch(ids)
local tickets = {}
for _, id in ipairs(ids) do
  local row = row_of(id)
  if row and may_have(row[TENANT], row[SUBSCRIBER]) then
    add(row[TENANT], row[SUBSCRIBER])
    hand_over(id, row, until_)
    tickets[#tickets + 1] = { id, row[TENANT], row[SUBSCRIBER] }
  end
end
flush()
return tickets

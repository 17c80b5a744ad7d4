-- ARGV: now, when the lease ends, the limit, excluded tenants.  Returns the taken events and their texts.
local now, until_, limit = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local excluded = set_of(cjson.decode(ARGV[4]))
local ids = {}
for rank = 0, 2 do
  if #ids < limit then
    for _, id in ipairs(deal('e' .. rank, limit - #ids, now, excluded)) do
      ids[#ids + 1] = id
    end
  end
end
local outbox, bodies, versions = hmget(P .. 'o', ids), hmget(P .. 'e', ids), {}
local taken = {}
for at, id in ipairs(ids) do
  local its = unpacked(outbox[at])
  if its then
    local tenant = its[U_TENANT]
    versions[tenant] = versions[tenant] or call('HGET', P .. 'v', tenant) or '0'
    its[U_FENCE], its[U_AT] = its[U_FENCE] + 1, until_
    save_unplanned(id, its)
    wait_for_planning(id, its)
    if bodies[at] then
      taken[#taken + 1] = { its[U_FENCE], its[U_CURSOR], versions[tenant], bodies[at] }
    end
  end
end
flush()
return taken

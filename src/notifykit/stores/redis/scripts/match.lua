-- ARGV: tenant, the limit, the queries: match keys, and after which id.  Returns for each query its subscriptions and
-- the states of their endpoints.
local tenant, limit, answers = ARGV[1], tonumber(ARGV[2]), {}
for number, query in ipairs(cjson.decode(ARGV[3])) do
  local keys, after = unpack(query)
  local ids, seen = {}, {}
  for _, key in ipairs(keys) do
    local name = P .. 'm:' .. pair(tenant, key)
    for _, id in ipairs(call('ZRANGEBYLEX', name, after == '' and '-' or '(' .. after, '+', 'LIMIT', 0, limit)) do
      if not seen[id] then
        seen[id] = true
        ids[#ids + 1] = id
      end
    end
  end
  table.sort(ids, precedes)
  local found = {}
  for at = 1, math.min(#ids, limit) do
    local record = record_of('subscription', tenant, ids[at])
    local endpoint = record_of('endpoint', tenant, record[3])
    found[at] = { ids[at], record[2], endpoint and endpoint[3] }
  end
  answers[number] = found
end
return answers
